"""Commands of SDK clients, from the frames in which they come.

A frame is one or more JSON objects, each on a line of its own. The reader is strict in what it takes for a line, and
takes no object further than it must: what follows an object on its line is not looked at. The first object that cannot
be ends the connection, after those before it were handled.

Pure: no I/O, no clock.
"""

from __future__ import annotations

from json import JSONDecoder
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Raw, Struct

from mux import reasons
from mux.errors import Refused
from mux.wire.publication import is_text
from mux.wire.sdk.payloads import mended

MAX_ID = 2**32 - 1
"""The greatest id of a command."""

UNRECOVERABLE_IS_TOLD = 2
"""The bit of `flag` by which a client wants error 112 when its position cannot be resumed."""

_LF = b"\n"


class Recovery(Struct):
    """The position from which a client wants to go on in a channel."""

    recover: bool | None = None
    offset: int | None = None
    epoch: str | None = None


class Connect(Struct):
    """The first command of a connection."""

    token: str | None = None
    data: Raw = Raw()
    name: str | None = None
    version: str | None = None
    headers: dict[str, str] | None = None
    subs: dict[str, Recovery] | None = None
    flag: int | None = None


class Subscribe(Struct):
    """A command to hear a channel."""

    channel: str = ""
    token: str | None = None
    data: Raw = Raw()
    recover: bool | None = None
    offset: int | None = None
    epoch: str | None = None
    positioned: bool | None = None
    recoverable: bool | None = None
    join_leave: bool | None = None
    delta: str | None = None
    tf: Raw = Raw()
    flag: int | None = None


class Channel(Struct):
    """A command about one channel."""

    channel: str = ""


class Publish(Struct):
    """A command to publish in a channel."""

    channel: str = ""
    data: Raw = Raw()


class Since(Struct):
    """The position after which a page of the past begins."""

    offset: int | None = None
    epoch: str | None = None


class History(Struct):
    """A question for the past of a channel."""

    channel: str = ""
    limit: int | None = None
    since: Since | None = None
    reverse: bool | None = None


class Call(Struct):
    """A command for a function of the app."""

    method: str | None = None
    data: Raw = Raw()


class Send(Struct):
    """Data for the app, which is not answered."""

    data: Raw = Raw()


class Refresh(Struct):
    """A new token for the connection."""

    token: str | None = None


class SubRefresh(Struct):
    """A new token for a subscription."""

    channel: str = ""
    token: str | None = None


class Command(Struct):
    """One command; of several methods in one object the first in this order counts."""

    id: Annotated[int, Meta(ge=0, le=MAX_ID)] | None = None
    connect: Connect | None = None
    subscribe: Subscribe | None = None
    unsubscribe: Channel | None = None
    publish: Publish | None = None
    presence: Channel | None = None
    presence_stats: Channel | None = None
    history: History | None = None
    rpc: Call | None = None
    send: Send | None = None
    refresh: Refresh | None = None
    sub_refresh: SubRefresh | None = None


class Options(Struct, frozen=True):
    """The options of a command that are mux' own: `"data": {"mux": {…}}`."""

    latest: bool = False
    """A subscription leaves messages out when its client is behind."""
    last: Annotated[int, Meta(ge=0)] = 0
    """A subscription begins with so many messages, the latest."""
    notice: bool = False
    """A connection is told before the server leaves, and is not closed then."""


class Wish(Struct):
    """The data of a command that has such options."""

    mux: Options


Body: TypeAlias = Connect | Subscribe | Channel | Publish | History | Call | Send | Refresh | SubRefresh

METHODS = Command.__struct_fields__[1:]
"""The methods, in the order in which they count."""

_decode = msgspec.json.Decoder(Command).decode
_decode_wish = msgspec.json.Decoder(Wish).decode
_NO_OPTIONS = Options()
_scan = JSONDecoder().raw_decode


def next_command(frame: bytes, at: int) -> tuple[Command, int]:
    """Return the command that begins at a place in a frame, and where the next one begins.

    The frame has ended when that is its length; it has at least one command.

    Raises:
        Refused: no command begins there.
    """
    end = frame.find(_LF, at)
    if end < 0:
        end = after = len(frame)
    else:
        after = end + 1
    line = frame[at:end]
    try:
        return _decode(line), after
    except msgspec.ValidationError:
        raise Refused(reasons.BAD_COMMAND) from None
    except (msgspec.DecodeError, RecursionError):
        return _first_of(line), after


def method_of(command: Command) -> tuple[str, Body] | None:
    """Return the method of a command and what it says; None when it has none."""
    for method in METHODS:
        body: Body | None = getattr(command, method)
        if body is not None:
            return method, body
    return None


def check_frame(payload: bytes, *, binary: bool) -> None:
    """Let a frame pass that is text.

    Raises:
        Refused: it is not.
    """
    if binary and not is_text(payload):
        raise Refused(reasons.BAD_COMMAND)


def _first_of(line: bytes) -> Command:
    """Return the first object of a line that has more than one, or halves of surrogate pairs in it.

    Raises:
        Refused: no object begins there.
    """
    text = mended(line).decode().lstrip(" \t")
    try:
        return _decode(text[: _scan(text)[1]])
    except (ValueError, RecursionError):
        raise Refused(reasons.BAD_COMMAND) from None


def options_of(data: Raw) -> Options:
    """Return the options in the data of a command; data that are no options are the app's."""
    try:
        return _decode_wish(bytes(data)).mux if data else _NO_OPTIONS
    except (msgspec.MsgspecError, RecursionError):
        return _NO_OPTIONS
