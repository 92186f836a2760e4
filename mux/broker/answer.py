"""Whom Redis' answer to a command is given to: a function, so that most commands need no future and no task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

from mux.wire.resp import Reply

Done: TypeAlias = Callable[[Reply], None]
"""Called once with the reply, which is a BrokerError when the command was refused or lost."""


def ignore(reply: Reply) -> None:
    """Take an answer that nobody waits for."""


def settle(future: asyncio.Future[Reply]) -> Done:
    """Return what gives a reply to whoever waits for it, if somebody still does."""

    def done(reply: Reply) -> None:
        if not future.done():
            future.set_result(reply)

    return done
