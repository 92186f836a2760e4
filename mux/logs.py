"""What the command writes to standard error: lines for a person, or JSON for a machine.

Only the command configures logging; in somebody's app the log is theirs.
"""

from __future__ import annotations

import logging
import logging.config
import re
from datetime import UTC, datetime

import orjson

_QUERY = re.compile(r"\?[^\s'\"]*")


class WithoutQuery(logging.Filter):
    """Takes the query out of what Sanic says of a request: it may carry a token."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("sanic"):
            record.msg, record.args = _QUERY.sub("?...", record.getMessage()), None
        return True


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
            "message": _unicode(record.getMessage()),
        }
        if record.exc_info:
            entry["exception"] = _unicode(self.formatException(record.exc_info))
        if record.stack_info:
            entry["stack"] = _unicode(record.stack_info)
        return orjson.dumps(entry).decode()


def configure_logging(level: str, *, json: bool) -> None:
    """Write what mux and Sanic have to say to standard error, a line each.

    Args:
        level: debug, info, warning or error.
        json: lines are JSON.
    """
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "text": {"format": "%(asctime)s %(levelname)-7s %(name)s[%(process)d] %(message)s"},
                "json": {"()": JsonLines},
            },
            "filters": {"without_query": {"()": WithoutQuery}},
            "handlers": {
                "stderr": {
                    "class": "logging.StreamHandler",
                    "formatter": "json" if json else "text",
                    "filters": ["without_query"],
                }
            },
            "root": {"level": "WARNING", "handlers": ["stderr"]},
            "loggers": {"mux": {"level": level.upper()}},
        }
    )


def _unicode(text: str) -> str:
    """Escape what is no Unicode: a file name may have halves of surrogates, and JSON may not."""
    return text.encode("utf-8", "backslashreplace").decode()
