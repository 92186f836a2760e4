"""Serve an app in this process with Sanic's server, from its first connection to its last answer.

Sanic's own runner loses a signal that comes while it starts, and waits for idle connections when it stops; its server
object leaves both to us.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from sanic import Sanic

from mux.doorstep.arrivals import Arrivals
from mux.endpoints.takeover import bound_unsent
from mux.serve.collector import Collector
from mux.serve.listening import BACKLOG, Listeners, url_of
from mux.serve.ops_listener import REQUEST_SECONDS, serving, stop

ACCEPTED_SECONDS = 0.5
"""Seconds for which clients accepted just before another process took over are served like all others."""

READY_SECONDS = 0.05
"""Seconds between two looks of a new process at whether it is ready."""

logger = logging.getLogger("mux.serve.run")


@asynccontextmanager
async def served(
    app: Sanic[Any, Any], listeners: Listeners, *, waits: bool, leave: asyncio.Event
) -> AsyncIterator[None]:
    """Serve an app in this process for as long as the block runs.

    Args:
        app: as create_app() makes it.
        listeners: where from; they are not closed.
        waits: accept from nobody until clients may be sent here.
        leave: set when another process has taken over, before the block ends.
    """
    if sys.platform == "linux":
        bound_unsent(listeners.public)
        app.ctx.mux_arrivals.is_unsent_bounded = True
    # Any: the methods of Sanic's AsyncioServer have no annotations.
    server: Any = await app.create_server(
        sock=listeners.public.dup(),
        backlog=BACKLOG,
        access_log=False,
        protocol=app.ctx.http_protocol,
        asyncio_server_kwargs={"start_serving": False},
    )
    await server.startup()
    await server.before_start()
    while waits and not app.ctx.is_ready():  # noqa: ASYNC110 - conditions are of several parts
        await asyncio.sleep(READY_SECONDS)
    await server.start_serving()
    await server.after_start()
    logger.info("serving on %s", url_of(listeners.public))
    collector = Collector(lambda: len(app.ctx.hub))
    collector.start()
    async with AsyncExitStack() as stack:
        if listeners.ops is not None:
            await stack.enter_async_context(serving(app.ctx.ops_app, listeners.ops, app.ctx.http_protocol))
        yield
        collector.close()
        if leave.is_set():
            await stack.aclose()
            await _hand_over(server, app.ctx.mux_arrivals)
        else:
            await stop(server, app.ctx.mux_arrivals)


async def _hand_over(server: Any, arrivals: Arrivals) -> None:
    """End the server while another process accepts from the same socket: nobody is refused, and clients are drained."""
    closed = server.close()
    arrivals.keeps_connections = False
    await asyncio.sleep(ACCEPTED_SECONDS)
    await server.before_stop()
    arrivals.leave()
    await arrivals.finish(REQUEST_SECONDS)
    await closed
    await server.after_stop()
