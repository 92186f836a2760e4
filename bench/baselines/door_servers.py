"""Servers that a client's way in is compared with.

    python -m bench.baselines.door_servers raw|bare|doorstep|sanic PORT [REDIS_URL]

raw is the limit: a uvloop protocol that writes fixed bytes and reads nothing of what it is sent. bare is a handler of
Sanic's that checks nothing. The other two are the app of `mux serve`, behind its doorstep or Sanic's own protocol.
Each imports what it needs and no more, so that it starts fast.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, cast

import uvloop

JOINED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
ALIVE = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nalive\n"


class _Raw(asyncio.Protocol):
    """Answers whatever it is sent."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(JOINED if b"pgrade" in data else ALIVE)


async def _serve_raw(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Raw, "127.0.0.1", port, backlog=8192)
    await server.serve_forever()


def _serve_bare(port: int) -> None:
    from sanic import Request
    from sanic.response import HTTPResponse, text

    from bench.baselines.sanic_servers import new_app, serve

    async def alive(request: Request) -> HTTPResponse:
        return text("alive\n")

    app = new_app("bare")
    app.add_route(alive, "/healthz")
    serve(app, port)


async def _serve_mux(redis_url: str, port: int, *, has_doorstep: bool) -> None:
    from mux.serve.application import create_app
    from mux.settings.settings import Settings

    app = create_app(Settings(redis_url=redis_url, announce=False, ping_seconds=86400))
    protocol: dict[str, Any] = {"protocol": app.ctx.http_protocol} if has_doorstep else {}
    server: Any = await app.create_server(
        "127.0.0.1", port, access_log=False, asyncio_server_kwargs={"start_serving": False}, **protocol
    )
    await server.startup()
    await server.before_start()
    await server.start_serving()
    await server.after_start()
    await asyncio.Event().wait()


def _main(what: str, port: int, redis_url: str = "") -> None:
    if what == "raw":
        uvloop.run(_serve_raw(port))
    elif what == "bare":
        _serve_bare(port)
    else:
        uvloop.run(_serve_mux(redis_url, port, has_doorstep=what == "doorstep"))


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
