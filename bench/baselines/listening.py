"""What the Sanic baselines share: how they listen, which is as `mux serve` does."""

from __future__ import annotations

import os
import socket
from typing import Any

from sanic import Sanic

from mux.serve.run import BACKLOG

PING_SECONDS = 3600
"""Clients of the benchmarks never answer a ping, and a ping would be counted as a message. The task that
sends them is there all the same."""


def new_app(name: str) -> Sanic[Any, Any]:
    """Return a Sanic app that neither logs nor pings."""
    app: Sanic[Any, Any] = Sanic(name, configure_logging=False)
    app.config.WEBSOCKET_PING_INTERVAL = PING_SECONDS
    app.config.WEBSOCKET_PING_TIMEOUT = PING_SECONDS
    return app


def serve(app: Sanic[Any, Any], port: int = 0) -> None:
    """Serve in this process on a port, 0 for a free one, and say on which; others may listen on the same."""
    os.environ["SANIC_IGNORE_PRODUCTION_WARNING"] = "true"
    with socket.create_server(("127.0.0.1", port), backlog=BACKLOG, reuse_port=True) as sock:
        print(f"http://127.0.0.1:{sock.getsockname()[1]}", flush=True)
        app.prepare(sock=sock, single_process=True, backlog=BACKLOG, access_log=False, motd=False)
        Sanic.serve_single(primary=app)
