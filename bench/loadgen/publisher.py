"""Publish on a schedule, through a server's inlet.

Everything due is written at once and answers are counted, never waited for.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from bench.loadgen.dialect import Inlet
from bench.loadgen.load import Schedule
from bench.loadgen.stamp import channel_name, message, now_us

PATIENCE_SECONDS = 60.0
"""A run is given up when nothing was sent or answered for so many seconds."""

_READ_BYTES = 256 * 1024
_CHUNK = 512
"""Most messages that are made at a time, so that a burst is not 100 MB of commands in memory."""


@dataclass(slots=True)
class Published:
    """The outcome of publishing."""

    messages: int = 0
    late_us: int = 0
    """The longest delay of the publisher behind its schedule; 0 in a burst."""
    cpu_seconds: float | None = None
    """The CPU time that the limit spent on sending."""


def publish(inlet: Inlet, message_bytes: int, schedule: Schedule, stop: Callable[[], bool]) -> Published:
    """Publish everything, or what there is until stop() is true, and wait for the answers.

    Raises:
        TimeoutError: nothing moved for a minute.
        ConnectionError: a message was refused.
    """
    result = Published()
    made = 0
    unsent, answers = bytearray(), b""
    with inlet.connect() as connection:
        moved = time.monotonic()
        while result.messages < schedule.messages:
            if stop():
                schedule = replace(schedule, messages=made)
            if len(unsent) < _READ_BYTES and (due := min(schedule.due_by(now_us()), made + _CHUNK)) > made:
                if schedule.rate:
                    result.late_us = max(result.late_us, now_us() - schedule.due_us(made))
                for k in range(made, due):
                    sequence, channel = divmod(k, schedule.channels)
                    body = message(channel, sequence, schedule.due_us(k), message_bytes)
                    unsent += inlet.command(channel_name(channel), body)
                made = due
            sent = answered = 0
            with suppress(BlockingIOError):
                sent = connection.send(unsent) if unsent else 0
                del unsent[:sent]
            with suppress(BlockingIOError):
                data = connection.recv(_READ_BYTES)
                if not data:
                    raise ConnectionError("the connection that publishes was closed")
                # An answer may be cut in two: what follows the last end of line is kept.
                whole, end, answers = (answers + data).rpartition(b"\n")
                answered = inlet.answers(whole + end)
            result.messages += answered
            if sent or answered:
                moved = time.monotonic()
            elif time.monotonic() - moved > PATIENCE_SECONDS + schedule.seconds:
                raise TimeoutError(f"publishing stands still at {result.messages} of {schedule.messages} messages")
            else:
                _wait(connection, schedule, made, is_blocked=bool(unsent))
    return result


def _wait(connection: socket.socket, schedule: Schedule, made: int, *, is_blocked: bool) -> None:
    if made == schedule.messages or is_blocked:
        select.select([connection], [], [], 0.001)
    else:
        time.sleep(min(max(0, schedule.due_us(made) - now_us()), 50_000) / 1e6)
