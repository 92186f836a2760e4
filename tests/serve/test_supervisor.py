"""A supervisor with real processes that die, stand still, do not stop, or cannot be started."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import pairwise
from multiprocessing.context import SpawnProcess
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from weakref import WeakKeyDictionary

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mux.serve.signals import Signals
from mux.serve.supervisor import Supervisor
from tests.support.servers import PATIENCE_SECONDS, TOKEN, mux_serve, until
from tests.support.workers import (
    Notices,
    both_are_well,
    first_is_well_second_dies,
    first_is_well_second_stands_still,
    notes,
    replaced_by,
    will_not_stop,
)


@pytest.fixture(autouse=True)
def _main_is_not_imported_by_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have spawned processes do without pytest, which is the main module here."""
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))


def wait_for(condition: Callable[[], object]) -> None:
    """Wait, in a thread, for what no event tells of."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


_supervisors: WeakKeyDictionary[Notices, Supervisor] = WeakKeyDictionary()


def supervisor_of(notices: Notices) -> Supervisor:
    """Return the supervisor that reads these notices."""
    return _supervisors[notices]


@contextmanager
def supervising(
    target: Callable[..., None], folder: Path, *, stall_seconds: float = 0, stop_seconds: float = 10
) -> Iterator[Notices]:
    """Have two workers supervised, in a thread, for as long as the block runs."""
    notices = Notices(2)
    signals = Signals()  # not entered: what it would be told, it is told below
    supervisor = Supervisor(
        2, target, (notices, folder), notices=notices, stall_seconds=stall_seconds, stop_seconds=stop_seconds
    )
    _supervisors[notices] = supervisor
    running = Thread(target=supervisor.run, args=(signals,))
    running.start()
    try:
        yield notices
    finally:
        supervisor.stop()
        running.join(PATIENCE_SECONDS)
        assert not running.is_alive()
        assert not supervisor._workers


def told_pauses(records: list[logging.LogRecord], words: str) -> list[float]:
    """Return the pauses the log tells of in lines with these words."""
    found = [re.search(words + r".* in ([\d.]+) s", record.getMessage()) for record in records]
    return [float(match[1]) for match in found if match]


def test_a_worker_that_dies_again_and_again_is_nothing_to_its_neighbour(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its pauses double, and are kept; the other one lives on, and is replaced without a long pause when it dies."""
    with supervising(first_is_well_second_dies, tmp_path) as notices:
        wait_for(lambda: len(notes(tmp_path, 1)) == 4)
        ((first, _),) = notes(tmp_path, 0)
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: len(notes(tmp_path, 0)) == 2)
        wait_for(lambda: "serving" in notices.states())
    assert told_pauses(caplog.records, "ended with status 3")[:3] == [0.1, 0.2, 0.4]
    assert told_pauses(caplog.records, "ended with status -9") == [0.1]
    starts = [when for _, when in notes(tmp_path, 1)]
    for (earlier, later), pause in zip(pairwise(starts), (0.1, 0.2, 0.4), strict=False):
        assert later - earlier >= pause


@pytest.mark.parametrize("error", [OSError(errno.EAGAIN, "Resource temporarily unavailable"), MemoryError()])
def test_a_worker_that_cannot_be_started_is_tried_again_and_harms_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """No process, memory or descriptor is left for a moment: the server does not end over it."""
    start, refusals = SpawnProcess.start, [error, error]

    def refused(process: Any) -> None:
        if process._args[-2] == 1 and refusals:
            raise refusals.pop()
        start(process)

    monkeypatch.setattr(SpawnProcess, "start", refused)
    with supervising(both_are_well, tmp_path):
        wait_for(lambda: notes(tmp_path, 1))
        assert len(notes(tmp_path, 0)) == 1
    assert told_pauses(caplog.records, "cannot be started: .* trying again") == [0.1, 0.2]
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, set())


def test_a_worker_that_stands_still_is_told_of_killed_and_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is shown as stalled before; its neighbour is left alone."""
    with supervising(first_is_well_second_stands_still, tmp_path, stall_seconds=2) as notices:
        wait_for(lambda: notices.states() == ["serving", "stalled"])
        wait_for(lambda: len(notes(tmp_path, 1)) == 2)
        wait_for(lambda: notices.states() == ["serving", "serving"])
        assert len(notes(tmp_path, 0)) == 1
    ((stopped, _), _) = notes(tmp_path, 1)
    assert any(f"worker {stopped} has stood still" in record.getMessage() for record in caplog.records)


def test_workers_are_replaced_one_after_the_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A new one has the number that is not used, and the next one that of the old one that has left."""
    caplog.set_level(logging.INFO)
    with supervising(partial(replaced_by, "is ready"), tmp_path) as notices:
        wait_for(lambda: notices.states() == ["serving", "serving"])
        supervisor_of(notices).replace()
        wait_for(lambda: len(notes(tmp_path, 0)) == 2)
        wait_for(lambda: notices.states() == ["serving", "serving"])
    assert [len(notes(tmp_path, number)) for number in range(3)] == [2, 1, 1]
    leaves = [record.getMessage() for record in caplog.records if "is ready, and worker" in record.getMessage()]
    assert len(leaves) == 2


@pytest.mark.parametrize(("what", "told"), [("dies", "ended with status 4"), ("is late", "was not ready after 1 s")])
def test_old_workers_go_on_when_a_new_one_does_not_become_ready(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, what: str, told: str
) -> None:
    """There is one line in the log, and no other worker is tried; the next SIGHUP tries again."""
    monkeypatch.setattr("mux.serve.supervisor.READY_SECONDS", 1.0)
    with supervising(partial(replaced_by, what), tmp_path) as notices:
        wait_for(lambda: notices.states() == ["serving", "serving"])
        for times in (1, 2):
            supervisor_of(notices).replace()
            wait_for(lambda: sum("the old ones go on" in line for line in caplog.messages) == times)  # noqa: B023
        assert notices.states() == ["serving", "serving"]
    assert [len(notes(tmp_path, number)) for number in range(3)] == [1, 1, 2]
    assert {record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING} == {
        f"a new worker {told}, and replaces none; the old ones go on"
    }


def test_a_stop_does_not_wait_for_a_worker_that_does_not_stop(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """After its time it is killed, whatever it does with SIGTERM."""
    with supervising(will_not_stop, tmp_path, stop_seconds=0.2):
        wait_for(lambda: notes(tmp_path, 0) and notes(tmp_path, 1))
    lines = {record.getMessage() for record in caplog.records}
    assert len([line for line in lines if "did not stop in time, and is killed" in line]) == 2


def test_a_stop_waits_even_less_for_a_worker_that_stood_still_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot say goodbye to anybody; its neighbour has all the time there is."""
    monkeypatch.setattr("mux.metrics.seat.SILENT_SECONDS", 0.5)
    with supervising(first_is_well_second_stands_still, tmp_path, stop_seconds=PATIENCE_SECONDS) as notices:
        wait_for(lambda: notices.states() == ["serving", "stalled"])
    assert any("did not stop in time, and is killed" in record.getMessage() for record in caplog.records)


def test_a_signal_while_workers_start_ends_them_all() -> None:
    """Half a second of imports is no time in which a stop is lost, or a traceback is printed."""
    with mux_serve("--workers", "2") as server:
        status, said = server.stop()
    assert status == 0, said
    assert "Traceback" not in said
    assert "ended with status" not in said


async def test_a_stopped_worker_makes_the_others_say_so(redis_url: str, prefix: str) -> None:
    """/readyz and /metrics tell, and it is replaced after --stall-seconds."""
    options = ("--redis-url", redis_url, "--prefix", prefix, "--workers", "2", "--stall-seconds", "2")
    with mux_serve(*options, "--drain-seconds", "0") as server:
        await until(lambda: len(_children(server.pid)) == 2)
        url = f"http://127.0.0.1:{server.port}"
        await until(lambda: _numbers(url).get("serving") == 2)
        stopped, other = _children(server.pid)
        os.kill(stopped, signal.SIGSTOP)
        await until(lambda: _numbers(url).get("stalled") == 1)
        assert b'"failing":["no_worker_stalled"]' in _get(f"{url}/readyz")
        await until(lambda: _numbers(url) == {"serving": 2})
        assert b'"ready":true' in _get(f"{url}/readyz")
        assert other in _children(server.pid)
        assert stopped not in _children(server.pid)
        status, said = await asyncio.to_thread(server.stop)
        assert status == 0
        assert f"worker {stopped} has stood still" in said


def _children(pid: int) -> list[int]:
    """Return the workers of a supervisor, by what they were started for."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with suppress(OSError):
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(int(child))
    return found


def _get(url: str) -> bytes:
    """Ask whichever worker answers; one that is stopped may have taken the connection, and is not waited for."""
    try:
        request = Request(url, headers={"Authorization": f"Bearer {TOKEN}"})  # noqa: S310 - it is of this test
        with urlopen(request, timeout=0.3) as answer:  # noqa: S310 - it is of this test
            return bytes(answer.read())
    except HTTPError as error:
        return error.read()
    except OSError:
        return b""


def _numbers(url: str) -> dict[str, float]:
    """Return how many processes are in each state."""
    return {
        sample.labels["state"]: sample.value
        for family in text_string_to_metric_families(_get(f"{url}/metrics").decode())
        for sample in family.samples
        if family.name == "mux_processes"
    }
