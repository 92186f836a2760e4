"""Parse an event stream as the WHATWG standard says (HTML, 9.2.6 "Interpreting an event stream").

Bytes in, events out, however the bytes are cut into pieces. retry and id are understood and dropped: whoever reads
here does not come back by itself. Comments are heartbeats; mux also says in one why it ends a stream.

1. A line ends with CR, LF or CRLF. The end of a piece after a CR ends the line; an LF that follows belongs to it.
2. An event without data is none, and what a stream that breaks off had begun is never an event.

Pure: no I/O, no clock.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

_LINE_END = re.compile(r"\r\n|\r|\n")  # str.splitlines() knows eight more, which are payload here


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its type, "message" when the stream names none, and its lines of data joined by LF."""

    type: str
    data: str


class EventStream:
    """The parser of one stream.

    pending_chars is how much of an event is kept until its end comes: whoever reads from strangers bounds it.
    """

    __slots__ = ("_after_cr", "_data", "_decoder", "_line", "_type", "comment", "pending_chars")

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._after_cr = False
        self._line: list[str] = []
        self._type = ""
        self._data: list[str] = []
        self.pending_chars = 0
        self.comment = ""
        """The last one; nothing before the first."""

    def feed(self, piece: bytes) -> Iterator[Event]:
        """Take the next bytes and yield the events that end in them."""
        text = self._decoder.decode(piece)
        if not text:
            return
        if self._after_cr:
            text = text.removeprefix("\n")
        self._after_cr = text.endswith("\r")
        *ended, rest = _LINE_END.split(text)
        for part in ended:
            line = "".join([*self._line, part])
            self._line.clear()
            self.pending_chars -= len(line) - len(part)
            event = self._take(line)
            if event is not None:
                yield event
        self._line.append(rest)
        self.pending_chars += len(rest)

    def _take(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
            self.pending_chars += len(value) + 1  # with its end, for an empty line is kept as well
        elif field == "event":
            self._type = value
        elif not field:
            self.comment = value
        return None

    def _dispatch(self) -> Event | None:
        event = Event(self._type or "message", "\n".join(self._data)) if self._data else None
        self._type = ""
        self._data.clear()
        self.pending_chars = 0
        return event
