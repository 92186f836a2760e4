"""`mux tail`: a thread a channel reads, the main thread prints.

1. Lines are printed by one thread only, so they never interleave.
2. What is read and not printed yet is bounded: a terminal that stands still stops the reading, and the server
   sees a slow consumer.
3. The first channel that ends, ends all: a script that reads several must not wait for ever on the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from queue import Queue
from threading import Thread

from mux.command.access import NONE, Access
from mux.command.lines import channel_labels, colour_wanted, format_message, print_line
from mux.command.server_url import escape_controls, parse_server_url
from mux.command.tail.feeds import EventFeed, Feed, WebSocketFeed
from mux.errors import ServerUnreachable

_QUEUED_MESSAGES = 1000


@dataclass(frozen=True, slots=True)
class _Heard:
    channel: str
    at: datetime
    message: str | bytes


@dataclass(frozen=True, slots=True)
class _Ended:
    channel: str
    error: Exception


def tail(
    url: str, channels: Sequence[str], *, sse: bool = False, colour: bool | None = None, access: Access = NONE
) -> None:
    """Print what passes on channels, a line each with the time, until a connection ends.

    sse takes Server-Sent Events instead of WebSockets. colour None means: if standard output is a terminal.

    Raises:
        InvalidSetting: url is none.
        ServerUnreachable: nobody answers at url, the answer was no, or the server ended a connection.
    """
    address = parse_server_url(url, access)
    channels = list(dict.fromkeys(channels))
    labels = channel_labels(channels, colour=colour_wanted() if colour is None else colour)
    kind = EventFeed if sse else WebSocketFeed
    feeds: dict[str, Feed] = {channel: kind(address, channel) for channel in channels}
    queue: Queue[_Heard | _Ended] = Queue(_QUEUED_MESSAGES)
    for channel, feed in feeds.items():
        # Daemons: one that is still connecting cannot be interrupted, and must not keep the program.
        Thread(target=_read, args=(channel, feed, queue), name=f"tail {channel}", daemon=True).start()
    try:
        while isinstance(heard := queue.get(), _Heard):
            print_line(format_message(heard.at, heard.message, labels[heard.channel]))
    finally:
        with ThreadPoolExecutor(len(feeds)) as pool:
            for feed in feeds.values():
                pool.submit(feed.close)
    if isinstance(heard.error, ServerUnreachable) and len(feeds) > 1:
        raise ServerUnreachable(f"{escape_controls(heard.channel)}: {heard.error}") from heard.error
    raise heard.error


def _read(channel: str, feed: Feed, queue: Queue[_Heard | _Ended]) -> None:
    try:
        for message in feed.messages():
            queue.put(_Heard(channel, datetime.now(), message))
    except Exception as error:  # noqa: BLE001 - raised again by the thread that waits for it
        queue.put(_Ended(channel, error))
