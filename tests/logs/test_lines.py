from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.logs.lines import MAX_CHARACTERS, JsonLines, PatientHandler, TextLines
from mux.logs.repeats import MOST


def record(message: str, *arguments: object, **options: object) -> logging.LogRecord:
    """Return a record of now, at INFO."""
    made = logging.LogRecord("mux.hub", logging.INFO, __file__, 1, message, arguments, None)
    for name, value in options.items():
        setattr(made, name, value)
    return made


def test_a_record_is_one_object_on_one_line() -> None:
    """Whatever the message has in it."""
    line = JsonLines().format(record("evicted %d\n%s", 3, "ü\x1b[2J"))
    assert "\n" not in line
    entry = orjson.loads(line)
    time = datetime.fromisoformat(entry.pop("time"))
    assert time.utcoffset() is not None
    assert abs((datetime.now(time.tzinfo) - time).total_seconds()) < 3600
    assert entry.pop("pid") > 1
    assert entry == {"level": "info", "logger": "mux.hub", "message": "evicted 3\nü\x1b[2J"}


def test_the_time_is_rfc_3339_in_utc() -> None:
    """With milliseconds, as people and machines read it."""
    entry = orjson.loads(JsonLines().format(record("hi", created=1700000000.25)))
    assert entry["time"] == "2023-11-14T22:13:20.250Z"


def test_an_exception_is_in_the_object() -> None:
    """As Python prints it; with the stack, when one was asked for."""
    try:
        raise ValueError("no good")
    except ValueError:
        entry = orjson.loads(JsonLines().format(record("failed", exc_info=sys.exc_info(), stack_info="Stack: …")))
    assert entry["exception"].startswith("Traceback")
    assert entry["exception"].endswith("ValueError: no good")
    assert entry["stack"] == "Stack: …"


@pytest.mark.parametrize("text", ["\ud800", "\x00", "\u2028"])
def test_what_json_cannot_have_is_escaped(text: str) -> None:
    """A log line never fails over what is in it, and never is two."""
    line = JsonLines().format(record("name %s", text))
    assert orjson.loads(line)["message"].startswith("name ")
    assert len(line.split("\n")) == 1


def failure(text: str) -> logging.LogRecord:
    """Return a record with a traceback that has a text in it, and was caused by one that has it as well."""
    try:
        try:
            raise ValueError(text)
        except ValueError as error:
            raise RuntimeError(f"Exception while handling {text!r}") from error
    except RuntimeError:
        return record("Exception occurred while handling uri: %r", text, exc_info=sys.exc_info(), name="sanic.error")


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f\x85"), min_size=0))
def test_no_query_is_in_the_log(rest: str) -> None:
    """Neither in a message nor in a traceback, whatever the query has in it, and whoever quotes it."""
    target = f"http://h/feed/x?{rest}t0ken=1"
    for formatter in (TextLines(), JsonLines()):
        line = formatter.format(failure(target))
        assert "http://h/feed/x?..." in line
        assert "t0ken" not in line


def test_a_question_stays_as_it_is() -> None:
    """Only what follows a question mark without a blank is a query."""
    assert TextLines().format(record("why? %s", "because")).endswith("why? because")


def test_a_query_of_quotes_takes_no_time() -> None:
    """Eight thousand of anything are looked at once each, and not once for each other."""
    assert "t0ken" not in JsonLines().format(record("GET /?%s", "'" * 200_000 + "t0ken"))


@pytest.mark.parametrize("formatter", [TextLines(), JsonLines()])
def test_a_line_has_an_end(formatter: logging.Formatter) -> None:
    """A message that somebody has made huge is cut in the middle, and stays JSON."""
    assert len(formatter.format(failure("x" * 1_000_000))) < 3 * MAX_CHARACTERS


def test_a_flood_of_tracebacks_is_summed_up(tmp_path: Path) -> None:
    """Nine thousand unfinished requests were 13.6 MB of log; now they are ten, and how many more there were."""
    said = _logged(tmp_path, lambda handler: [handler.handle(failure(f"/x?{n}")) for n in range(9000)])
    assert said.count("Traceback") == 2 * MOST
    assert f"{9000 - MOST} more lines like this one were left out" in said
    assert len(said) < 100_000


def test_what_debugging_asks_for_is_not_summed_up(tmp_path: Path) -> None:
    """Whoever sets --log-level debug wants every line."""

    def debug(handler: logging.Handler) -> None:
        for number in range(50):
            handler.handle(record("client %d", number, levelno=logging.DEBUG, levelname="DEBUG"))

    said = _logged(tmp_path, debug)
    assert said.count("client ") == 50


def test_every_gap_has_its_line(tmp_path: Path) -> None:
    """More than ten reconnects in ten seconds were summed up, and the times of the other gaps were in no log."""
    log = tmp_path / "log"
    with log.open("w") as file:
        handler = PatientHandler(file.fileno())
        for number in range(3 * MOST):
            handler.handle(logging.LogRecord("mux.broker", logging.WARNING, __file__, 1, "gap %d", (number,), None))
        handler.close()
    assert log.read_text().splitlines() == [f"gap {number}" for number in range(3 * MOST)]


def test_a_line_that_cannot_be_made_is_told_of(tmp_path: Path) -> None:
    """A mistake in a format is no reason to print a traceback past the log."""
    said = _logged(tmp_path, lambda handler: handler.handle(record("%d is no number", "x")))
    assert "a line cannot be logged: '%d is no number'" in said


def _logged(folder: Path, log: Callable[[logging.Handler], object]) -> str:
    """Return what a handler has written."""
    with (folder / "log").open("wb") as file:
        handler = PatientHandler(file.fileno())
        handler.setFormatter(TextLines())
        log(handler)
        handler.close()
    return (folder / "log").read_text()


FAILURES = """
import sys, threading, warnings, asyncio
from mux.logs.lines import configure_logging
configure_logging("info", json=True)
class Bad:
    def __del__(self): raise ValueError("in a destructor")
Bad()
thread = threading.Thread(target=lambda: [][0]); thread.start(); thread.join()
warnings.warn("a warning")
async def forget():
    asyncio.get_running_loop().call_soon(lambda: {}["in a callback"])
    await asyncio.sleep(0)
    await asyncio.sleep(0)
asyncio.run(forget())
raise RuntimeError("at the end")
"""


def test_with_json_everything_is_json() -> None:
    """Failures nobody handles, of the program, a thread, a destructor and a callback, and warnings."""
    ended = subprocess.run([sys.executable, "-c", FAILURES], capture_output=True, text=True, check=False, timeout=30)
    entries = [orjson.loads(line) for line in ended.stderr.splitlines()]
    texts = [entry["message"] + entry.get("exception", "") for entry in entries]
    for words in ("in a destructor", "list index out of range", "a warning", "in a callback", "at the end"):
        assert any(words in text for text in texts), (words, ended.stderr)
    assert ended.returncode == 1


def test_a_full_pipe_or_none_at_all_does_not_keep_a_process_from_ending() -> None:
    """It ends with its own status, though what it had to say could not be said."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    for redirection in (writer, None):
        command = ["sh", "-c", 'exec "$@" 2>&-', "sh"] if redirection is None else []
        ended = subprocess.run([*command, sys.executable, "-c", FAILURES], stderr=redirection, check=False, timeout=30)
        assert ended.returncode == 1
    os.close(reader)
    os.close(writer)
