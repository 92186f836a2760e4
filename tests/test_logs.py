from __future__ import annotations

import logging
import sys
from datetime import datetime

import orjson
import pytest

from mux.logs import JsonLines


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
