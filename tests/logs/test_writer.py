from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress
from threading import Thread

import pytest

from mux.logs.writer import LogWriter, write_at_once

PIPE_BYTES = 4096


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Return both ends of a pipe that takes little."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    yield reader, writer
    for descriptor in (reader, writer):
        with suppress(OSError):
            os.close(descriptor)


def read_all(descriptor: int) -> list[str]:
    """Return the lines up to the end of a pipe."""
    with os.fdopen(os.dup(descriptor), encoding="utf-8", errors="replace") as file:
        return file.read().splitlines()


def test_a_reader_that_stalls_holds_nobody_up_and_hears_how_much_it_missed(pipe: tuple[int, int]) -> None:
    """Lines are kept up to a bound, then dropped and counted; what is kept comes in order."""
    reader, descriptor = pipe
    os.set_blocking(descriptor, False)
    with suppress(BlockingIOError):  # full, so that not one line can be written while they are put
        while True:
            os.write(descriptor, b"\n")
    os.set_blocking(descriptor, True)
    writer = LogWriter(descriptor, max_waiting_bytes=10_000)
    for number in range(10_000):
        writer.put(f"line {number}")
    assert not writer.flush()
    lines: list[str] = []
    reading = Thread(target=lambda: lines.extend(read_all(reader)))
    reading.start()
    assert writer.flush()
    writer.put("after")
    writer.close()
    os.close(descriptor)
    reading.join()
    (told,) = [line for line in lines if "dropped" in line]
    kept = [line for line in lines if line.startswith("line ")]
    assert kept == [f"line {number}" for number in range(len(kept))]
    assert 100 < len(kept) < 2000
    assert told == f"{10_000 - len(kept)} lines were dropped"
    assert lines[-1] == "after"


@pytest.mark.parametrize("is_blocking", [True, False])
def test_a_normal_end_loses_no_line(pipe: tuple[int, int], is_blocking: bool) -> None:
    """Whoever shares a terminal may have made it non-blocking; a line that does not fit at once is not lost."""
    reader, descriptor = pipe
    os.set_blocking(descriptor, is_blocking)
    lines: list[str] = []
    reading = Thread(target=lambda: lines.extend(read_all(reader)))
    reading.start()
    writer = LogWriter(descriptor)
    expected = [f"{number} {'x' * 999} ü\udcff" for number in range(200)]
    for line in expected:
        writer.put(line)
    writer.close()
    os.close(descriptor)
    reading.join()
    assert lines == [line.replace("\udcff", "\\udcff") for line in expected]


def test_a_reader_that_is_gone_does_no_harm(pipe: tuple[int, int]) -> None:
    """A closed pipe, and a closed descriptor: what is written is lost, and that is all."""
    reader, descriptor = pipe
    os.close(reader)
    writer = LogWriter(descriptor)
    writer.put("nobody")
    assert writer.flush()
    writer.close()
    writer.put("too late")
    os.close(descriptor)
    write_at_once(descriptor, "nowhere")


def test_the_end_does_not_wait_for_a_reader_that_stalls(pipe: tuple[int, int]) -> None:
    """A process that ends ends, whatever is still to be said."""
    _, descriptor = pipe
    write_at_once(descriptor, "x" * 3 * PIPE_BYTES)
