"""`mux serve`: one listening socket, one Redis, and as many processes as were asked for.

What can go wrong for the operator goes wrong here, before a process serves: the address is taken, Redis
is not there or not for us, no server can be started. Sanic gets the socket ready-made.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import logging.config
import os
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial

from sanic import Sanic
from sanic.worker.loader import AppLoader

from mux.app import create_app
from mux.broker.address import parse_address
from mux.broker.broker import probe
from mux.broker.embedded import embedded_server
from mux.errors import CannotListen
from mux.settings import Settings
from mux.version import __version__
from mux.wire.channel import Namespace

BACKLOG = 8192
"""Connections the kernel keeps until they are accepted; it caps them at net.core.somaxconn. With Sanic's
100, a storm of reconnects waits for SYN retries of a second and more (design.md, section 5)."""


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        OperatorError: it cannot be done; the message says what to do.
        BrokerError: Redis cannot be reached, or does not want us.
    """
    configure_logging(settings.log_level)
    with listening_socket(settings.host, settings.port) as sock, _redis(settings) as redis_url:
        settings = replace(settings, redis_url=redis_url)
        address = parse_address(redis_url)
        asyncio.run(probe(address, Namespace(settings.prefix).pattern))
        _welcome(settings, _url(sock), str(address))
        _run(settings, sock)


def configure_logging(level: str) -> None:
    """Write what mux and Sanic have to say to standard error, a line each."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"line": {"format": "%(asctime)s %(levelname)-7s %(name)s[%(process)d] %(message)s"}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
            "root": {"level": "WARNING", "handlers": ["stderr"]},
            "loggers": {"mux": {"level": level.upper()}},
        }
    )


@contextmanager
def listening_socket(host: str, port: int) -> Iterator[socket.socket]:
    """Listen on an address for as long as the block runs.

    Raises:
        CannotListen: the address is in use, forbidden, or not of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise CannotListen(f"cannot listen on {host!r}: {error.strerror}; choose another --host") from error
    with sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(address)
            sock.listen(BACKLOG)
        except OSError as error:
            raise CannotListen(_why_not(error, host, port)) from error
        sock.set_inheritable(True)
        yield sock


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; stop who has it, or choose another --port"
    if error.errno == errno.EACCES:
        return f"this user may not listen on port {port}; choose a --port above 1023"
    return f"cannot listen on {host} port {port}: {(error.strerror or str(error)).lower()}; choose another --host"


def _redis(settings: Settings) -> AbstractContextManager[str]:
    return embedded_server() if settings.redis_url is None else nullcontext(settings.redis_url)


def _url(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _welcome(settings: Settings, url: str, redis: str) -> None:
    option = "" if url == "http://127.0.0.1:8000" else f" --url {url}"
    print(
        f"mux {__version__} on {url}, {settings.workers} process{'' if settings.workers == 1 else 'es'}\n"
        f"Redis: {redis}, channels {settings.prefix}*\n"
        "\n"
        "Try, each in a terminal of its own:\n"
        f"  python -m websockets {url.replace('http', 'ws', 1)}/feed/lobby\n"
        f"  mux publish lobby hello{option}\n"
        f"  curl -d hello {url}/feed/lobby\n",
        flush=True,
    )


def _run(settings: Settings, sock: socket.socket) -> None:
    os.environ["SANIC_IGNORE_PRODUCTION_WARNING"] = "true"
    factory = partial(create_app, settings)
    app = factory()
    single = settings.workers == 1
    app.prepare(
        sock=sock,
        workers=settings.workers,
        single_process=single,
        backlog=BACKLOG,
        access_log=False,
        motd=False,
    )
    if single:
        Sanic.serve_single(primary=app)
    else:
        Sanic.serve(primary=app, app_loader=AppLoader(factory=factory))
