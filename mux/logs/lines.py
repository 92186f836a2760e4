"""The lines of the log on standard error: text for a person, or JSON for a machine.

Only the command configures logging. In somebody's app the log is theirs, and what mux has to say goes where Sanic's
lines go, as long as nobody has said otherwise.

Rules:

1. Logging never waits (writer), and a stranger cannot fill the log: repeats are summed up (repeats), and a line
   has an end.
2. Nothing that is written has a query in it, for it may carry a token; neither has a traceback.
3. With JSON everything is JSON: what Python has to say of its own failures as well.
"""

from __future__ import annotations

import logging
import logging.config
import re
import sys
import threading
from collections.abc import Hashable
from datetime import UTC, datetime
from time import monotonic

import orjson

from mux.logs.repeats import PERIOD_SECONDS, Repeats
from mux.logs.writer import LogWriter

_QUERY = re.compile(r"\?(?=[^ \t\r\n])[^ \t\r\n]*?(?=['\"<>)\]}]{0,4}(?:[ \t\r\n]|$))")
"""A question mark and what follows it up to a blank, but for the quotes and brackets that end with it."""

MAX_CHARACTERS = 16 * 1024
"""A message, or a traceback, that is longer is cut in the middle."""

STDOUT = 1
STDERR = 2

_SOON_SECONDS = 0.05


def without_query(text: str) -> str:
    """Take the query out of every URL in a text."""
    return _QUERY.sub("?...", text)


def bounded(text: str) -> str:
    """Cut a text in the middle when it is too long."""
    if len(text) <= MAX_CHARACTERS:
        return text
    half = MAX_CHARACTERS // 2
    return f"{text[:half]} … {len(text) - 2 * half} more … {text[-half:]}"


class TextLines(logging.Formatter):
    """Lines for a person."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s[%(process)d] %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return bounded(without_query(super().format(record)))


class JsonLines(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, pid, message, and exception if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": _clean(record.getMessage()),
        }
        if record.exc_info:
            entry["exception"] = _clean(self.formatException(record.exc_info))
        if record.stack_info:
            entry["stack"] = _clean(record.stack_info)
        return orjson.dumps(entry).decode()


PACED = frozenset(("mux.broker", "mux.serve.supervisor"))
"""Loggers whose lines come at a pace of mux' own: no stranger hastens them, and every gap has its line."""


class PatientHandler(logging.Handler):
    """Hands lines to a LogWriter; sums up repeats, but of what is asked for by --log-level debug."""

    def __init__(self, descriptor: int = STDERR) -> None:
        super().__init__()
        self._repeats = Repeats()
        self._writer = LogWriter(descriptor, on_dropped=self._dropped, on_idle=self._idle)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._emit(record)
        except Exception:  # noqa: BLE001 - a line that cannot be made is told of, and never does any harm
            self._writer.put(
                self.format(_record(logging.ERROR, "a line cannot be logged: %s", ascii(record.msg)[:200]))
            )

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._tell(float("inf"))
        self._writer.close()
        super().close()

    def _emit(self, record: logging.LogRecord) -> None:
        now = monotonic()
        self._tell(now)
        if _may_be_left_out(record) and not self._repeats.admits(_kind(record), record.getMessage(), now):
            self._writer.put("")  # so that the thread knows when to tell of it
            return
        self._writer.put(self.format(record))

    def _tell(self, now: float) -> None:
        for count, text in self._repeats.take(now):
            line = "%d more lines like this one were left out within %g s: %s"
            self._writer.put(self.format(_record(logging.WARNING, line, count, PERIOD_SECONDS, text[:200])))

    def _idle(self) -> float | None:
        """Tell of repeats whose time is over; called in the writer's thread, which must not wait for who logs."""
        assert self.lock is not None, "logging gives every handler one"
        if not self.lock.acquire(blocking=False):
            return _SOON_SECONDS
        try:
            now = monotonic()
            self._tell(now)
            end = self._repeats.next_end
        finally:
            self.lock.release()
        return None if end is None else max(0.0, end - now)

    def _dropped(self, count: int) -> str:
        return self.format(
            _record(logging.WARNING, "%d lines of the log were dropped: nobody read them in time", count)
        )


def configure_logging(level: str, *, json: bool) -> None:
    """Write what mux, Sanic, asyncio and Python itself have to say to standard error, a line each.

    Args:
        level: debug, info, warning or error.
        json: lines are JSON.
    """
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"lines": {"()": JsonLines if json else TextLines}},
            "handlers": {"stderr": {"()": PatientHandler, "formatter": "lines"}},
            "root": {"level": "WARNING", "handlers": ["stderr"]},
            "loggers": {"mux": {"level": level.upper()}},
        }
    )
    logging.captureWarnings(True)
    logger = logging.getLogger("mux")
    sys.excepthook = lambda kind, error, trace: logger.critical("mux has failed", exc_info=(kind, error, trace))
    threading.excepthook = lambda hook: logger.critical(
        "the thread %s has failed",
        hook.thread and hook.thread.name,
        exc_info=hook.exc_value and (hook.exc_type, hook.exc_value, hook.exc_traceback),
    )
    sys.unraisablehook = lambda hook: logger.error(
        "%s: %r", hook.err_msg or "an exception nobody handles", hook.object, exc_info=hook.exc_value
    )


def speak_like(other: str) -> None:
    """Have mux's lines go where those of another logger go, unless somebody has said where they go.

    Nothing is configured: without this mux's lines would be lost, for Sanic's handlers are on loggers of its own.
    """
    mux, theirs = logging.getLogger("mux"), logging.getLogger(other)
    if theirs.hasHandlers() and not mux.hasHandlers():
        mux.parent = theirs
        mux.setLevel(mux.level)  # what loggers remember of levels is forgotten


def json_line(level: int, logger: str, message: str) -> str:
    """Return what has to be said beside the log as a line of it."""
    return JsonLines().format(_record(level, "%s", message, name=logger))


def _record(level: int, message: str, *arguments: object, name: str = "mux.logs.lines") -> logging.LogRecord:
    return logging.LogRecord(name, level, __file__, 0, message, arguments, None)


def _may_be_left_out(record: logging.LogRecord) -> bool:
    """Tell whether a line may be summed up with others: not what is asked for by --log-level debug, and not PACED."""
    return record.levelno > logging.DEBUG and record.name not in PACED


def _kind(record: logging.LogRecord) -> Hashable:
    """Return what makes a line a repeat: who says it, where in the program, and of which kind of exception."""
    exception = record.exc_info[0] if record.exc_info else None
    return record.name, record.levelno, record.pathname, record.lineno, exception


def _clean(text: str) -> str:
    """Cut what is too long, and escape what is no Unicode: a file name may have halves of surrogates, JSON may not."""
    return bounded(without_query(text)).encode("utf-8", "backslashreplace").decode()
