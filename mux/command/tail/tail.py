"""`mux tail`: a thread reads each channel, the main thread prints.

1. Lines are printed by one thread only, so they never interleave.
2. A bounded number of messages is read and not printed yet: a terminal that stands still stops the reading, and the
   server sees a slow client.
3. The first channel that ends, ends all: a script that reads several must not wait for ever on the rest.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from queue import Queue
from threading import Thread
from urllib.parse import urlencode

from mux.command.access import NONE, Access
from mux.command.lines import channel_labels, colour_wanted, format_message, print_line
from mux.command.server_url import escape_controls, parse_server_url
from mux.command.tail.followers import EventStreamFollower, Follower, Missed, WebSocketFollower
from mux.errors import ServerUnreachable

_QUEUED_MESSAGES = 1000

Report = tuple[str, datetime, str | bytes | Missed | Exception]
"""A channel, the time, and its message, what is said of a gap or the reason for its end."""


def tail(
    url: str,
    channels: Sequence[str],
    *,
    last: int | None = None,
    since: str = "",
    sse: bool = False,
    colour: bool | None = None,
    access: Access = NONE,
) -> None:
    """Print what passes on channels, a line each with the time, until a connection ends.

    Args:
        url: where the server is.
        channels: their names.
        last: how many of the last messages of each channel are printed first, at most; None prints none of them.
        since: a position, or a duration such as 30s, from which on messages are printed first.
        sse: take Server-Sent Events instead of WebSockets.
        colour: whether channels have colours; None gives them colours when standard output is a terminal.
        access: what is sent to be let in.

    Raises:
        InvalidSetting: url is none.
        ServerUnreachable: nobody answers at url, the answer was no, the server ended a connection, or not all messages
            since a position are known any more.
    """
    address = parse_server_url(url, access)
    channels = list(dict.fromkeys(channels))
    labels = channel_labels(channels, colour=colour_wanted() if colour is None else colour)
    asked = {"last": "" if last is None else str(last), "since": since}
    query = "?" + urlencode({name: value for name, value in asked.items() if value}) if any(asked.values()) else ""
    kind = EventStreamFollower if sse else WebSocketFollower
    followers: dict[str, Follower] = {channel: kind(address, channel, query) for channel in channels}
    reports: Queue[Report] = Queue(_QUEUED_MESSAGES)
    for channel, follower in followers.items():
        # Daemons: one that is still connecting cannot be interrupted, and must not keep the program.
        Thread(target=_read, args=(channel, follower, reports), name=f"tail {channel}", daemon=True).start()
    try:
        while True:
            channel, at, message = reports.get()
            if isinstance(message, Exception):
                break
            if isinstance(message, Missed):
                sys.stderr.write(f"mux: {message}\n")
            else:
                print_line(format_message(at, message, labels[channel]))
    finally:
        with ThreadPoolExecutor(len(followers)) as pool:
            for follower in followers.values():
                pool.submit(follower.close)
    if isinstance(message, ServerUnreachable) and len(followers) > 1:
        raise ServerUnreachable(f"{escape_controls(channel)}: {message}") from message
    raise message


def _read(channel: str, follower: Follower, reports: Queue[Report]) -> None:
    try:
        for message in follower.messages():
            reports.put((channel, datetime.now(), message))
    except Exception as error:  # noqa: BLE001 - raised again by the thread that waits for it
        reports.put((channel, datetime.now(), error))
