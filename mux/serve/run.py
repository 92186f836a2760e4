"""`mux serve`: one listening socket, one Redis, and as many processes as were asked for.

What can go wrong for the operator goes wrong here, before a process serves: the address is taken, Redis
is not there or not for us, no server can be started. Sanic gets the socket ready-made.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

import uvloop
from sanic import Sanic

from mux.broker.location import check_redis, parse_location
from mux.doorstep.arrivals import Arrivals
from mux.doorstep.backlog import turn_away
from mux.endpoints.takeover import bound_unsent
from mux.errors import CannotListen, MuxError, SystemRefused
from mux.logs.lines import STDOUT, configure_logging, json_line
from mux.logs.writer import write_at_once
from mux.machine import raise_descriptor_limit
from mux.metrics.board import Board, Row
from mux.serve.application import create_app, is_of_this_machine
from mux.serve.collector import Collector
from mux.serve.embedded import embedded_server
from mux.serve.ops_listener import serving, unix_socket
from mux.serve.signals import HANDLED, Signals
from mux.serve.supervisor import Supervisor
from mux.serve.token_file import draw, token_file
from mux.settings import UNIX, Settings, unknown_variables
from mux.version import __version__
from mux.wire.channel import Namespace

BACKLOG = 8192
"""Connections the kernel keeps until they are accepted; it caps them at net.core.somaxconn. With Sanic's
100, a storm of reconnects waits for SYN retries of a second and more (mux/README.md, Traps)."""


logger = logging.getLogger("mux.serve.run")

STOP_SECONDS = 5.0
"""A worker is killed this long after the drain's time; a worker in order needs less."""

ACCEPTED_SECONDS = 0.5
"""How long whoever was accepted just before another process took over is served like everybody else."""

READY_SECONDS = 0.05
"""How often a new process asks itself whether it is ready."""

REQUEST_SECONDS = 0.5
"""How long requests that have begun may take when all clients are gone. A POST takes milliseconds."""


def serve(settings: Settings) -> None:
    """Serve until a signal says to stop.

    Raises:
        OperatorError: it cannot be done; the message says what to do.
        BrokerError: Redis cannot be reached, or does not want us.
    """
    configure_logging(settings.log_level, json=settings.log_json)
    with Signals() as signals:
        _serve_until(signals, settings)


def _serve_until(signals: Signals, settings: Settings) -> None:
    for sentence in unknown_variables():
        logger.warning("%s", sentence)
    raise_descriptor_limit()
    with (
        listening_socket(settings.host, settings.port) as sock,
        _ops_socket(settings) as ops_sock,
        _token(settings, sock, ops_sock) as token,
        _redis(settings) as redis_url,
    ):
        is_drawn = token != settings.inspect_token
        settings = replace(settings, redis_url=redis_url, inspect_token=token)
        location = parse_location(redis_url)
        namespace = Namespace(settings.prefix)
        asyncio.run(check_redis(location, namespace.pattern, namespace.redis_channel(b"$probe:start")))
        # In JSON the banner is a line of the log, which has no secrets.
        link = f"#token={token}" if is_drawn and settings.inspect and ops_sock is None and not settings.log_json else ""
        listeners = Listeners(sock, ops_sock)
        supervisor = None if settings.workers == 1 else _supervisor(settings, listeners, Board(settings.workers + 1))
        _welcome(settings, _url(sock), str(location), link, ops_sock)
        if supervisor is None:
            supervisor = uvloop.run(_serve_alone(settings, listeners, signals))
        if supervisor is not None:
            supervisor.run(signals)
        turn_away(sock)


@dataclass(frozen=True, slots=True)
class Listeners:
    """The sockets that every process of a server accepts from; ops has the operator's routes alone, if it is there."""

    public: socket.socket
    ops: socket.socket | None


def _supervisor(settings: Settings, listeners: Listeners, board: Board) -> Supervisor:
    """Return what starts the workers and watches over them; the board has a row for each and one more."""
    return Supervisor(
        settings.workers,
        _work,
        (settings, listeners, board),
        notices=board,
        stall_seconds=settings.stall_seconds,
        stop_seconds=settings.drain_seconds + STOP_SECONDS,
    )


def _ops_socket(settings: Settings) -> AbstractContextManager[socket.socket | None]:
    """Return the listener that the operator's routes have of their own, or nothing."""
    if settings.ops_host is not None and settings.ops_host.startswith(UNIX):
        return unix_socket(Path(settings.ops_host.removeprefix(UNIX)))
    if settings.ops_port is not None:
        return listening_socket(settings.ops_host or "127.0.0.1", settings.ops_port, "ops-")
    return nullcontext(None)


@contextmanager
def _token(settings: Settings, sock: socket.socket, ops_sock: socket.socket | None) -> Iterator[str | None]:
    """Give the token that the numbers want; one that is drawn lies in a file as long as the block runs."""
    sock = ops_sock or sock
    if settings.inspect_token is not None or (sock is ops_sock and is_of_this_machine(sock)):
        yield settings.inspect_token
        return
    token = draw()
    host, port = sock.getsockname()[:2]
    with token_file(token, host, port):
        yield token


@contextmanager
def listening_socket(host: str, port: int, options: str = "") -> Iterator[socket.socket]:
    """Listen on an address for as long as the block runs.

    Args:
        host: a name or an address.
        port: 0 is any free one.
        options: how those begin that name them, as ops- for --ops-host.

    Raises:
        CannotListen: the address is in use, forbidden, or not of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that cannot be one
        reason = (getattr(error, "strerror", None) or "it is no name of a host").lower()
        raise CannotListen(f"cannot listen on {host!a}: {reason}; choose another --{options}host") from error
    with sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(address)
            sock.listen(BACKLOG)
        except OSError as error:
            raise CannotListen(_why_not(error, host, port, options)) from error
        yield sock


def _why_not(error: OSError, host: str, port: int, options: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; stop who has it, or choose another --{options}port"
    if error.errno == errno.EACCES:
        return f"this user may not listen on port {port}; choose a --{options}port above 1023"
    reason = (error.strerror or str(error)).lower()
    return f"cannot listen on {host} port {port}: {reason}; choose another --{options}host"


def _redis(settings: Settings) -> AbstractContextManager[str]:
    return embedded_server() if settings.redis_url is None else nullcontext(settings.redis_url)


def _url(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _place(sock: socket.socket) -> str:
    return f"{UNIX}{sock.getsockname()}" if sock.family == socket.AF_UNIX else _url(sock)


def _welcome(settings: Settings, url: str, redis: str, link: str, ops_sock: socket.socket | None) -> None:
    option = "" if url == "http://127.0.0.1:8000" else f" --url {url}"
    text = (
        f"mux {__version__} on {url}, {settings.workers} process{'' if settings.workers == 1 else 'es'}\n"
        f"Redis: {redis}, channels {settings.prefix}*\n"
        + (f"Open {url}/{link} in a browser\n" if settings.page else "")
        + (f"Health and numbers: {_place(ops_sock)}\n" if ops_sock is not None else "")
        + "\n"
        "Try, each in a terminal of its own:\n"
        f"  python -m websockets {url.replace('http', 'ws', 1)}/feed/lobby\n"
        f"  mux publish lobby hello{option}\n"
        f"  curl -d hello {url}/feed/lobby\n"
    )
    write_at_once(STDOUT, json_line(logging.INFO, "mux.serve.run", text.strip()) if settings.log_json else text)


def _work(settings: Settings, listeners: Listeners, board: Board, number: int, replaces: bool) -> None:
    """Be one of several processes that serve."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # a terminal set to `tostop` would stop us at a line of log
    configure_logging(settings.log_level, json=settings.log_json)
    with Signals() as signals:
        # What a terminal sends does not come here any more; until here the supervisor kept it from us.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        try:
            uvloop.run(_serve_as_worker(settings, listeners, Row(board, number), signals, replaces=replaces))
        except MuxError as error:
            logger.error("%s", error)
            sys.exit(1)
        except Exception:
            logger.exception("the worker has failed")
            sys.exit(1)


async def _serve_as_worker(
    settings: Settings, listeners: Listeners, row: Row, signals: Signals, *, replaces: bool
) -> None:
    """Serve until a signal, or until the supervisor is gone; on SIGHUP another worker is there to replace this one."""
    stop, leave = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    signals.on_stop(lambda: loop.call_soon_threadsafe(stop.set))
    signals.on_replace(lambda: loop.call_soon_threadsafe(leave.set))
    supervisor = parent_process()
    assert supervisor is not None, "it has started this process"

    def stop_with_supervisor() -> None:
        loop.remove_reader(supervisor.sentinel)  # it stays readable for ever
        stop.set()

    loop.add_reader(supervisor.sentinel, stop_with_supervisor)
    app = create_app(settings, row, listeners.ops)
    async with _served(app, listeners, waits=replaces, leave=leave):
        row.set_ready()
        await _first(stop, leave)


async def _serve_alone(settings: Settings, listeners: Listeners, signals: Signals) -> Supervisor | None:
    """Serve until a signal, or on SIGHUP until a worker has taken over, whose supervisor is returned."""
    stop, leave, replaced = asyncio.Event(), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    signals.on_stop(lambda: loop.call_soon_threadsafe(stop.set))
    signals.on_replace(lambda: loop.call_soon_threadsafe(replaced.set))
    app = create_app(settings, None, listeners.ops)
    async with _served(app, listeners, waits=False, leave=leave):
        successor = await _successor(settings, listeners, signals, stop, replaced)
        if successor is not None:
            leave.set()
    if successor is None:
        return None
    supervisor, board = successor
    Row(board, 0).write(app.ctx.snapshot())  # what was counted here is counted on
    board.bury(0)
    return supervisor


async def _successor(
    settings: Settings, listeners: Listeners, signals: Signals, stop: asyncio.Event, replaced: asyncio.Event
) -> tuple[Supervisor, Board] | None:
    """Wait until a SIGHUP has brought up a worker that is ready, or for a stop, which gives None."""
    loop = asyncio.get_running_loop()
    while True:
        await _first(stop, replaced)
        if stop.is_set():
            return None
        replaced.clear()
        logger.info("SIGHUP: a worker starts, to take over from this process")
        try:
            board = Board(settings.workers + 1)
        except SystemRefused as error:
            logger.error("no worker can take over: %s", error)
            continue
        supervisor = _supervisor(settings, listeners, board)
        signals.on_stop(partial(_stop_both, supervisor, loop, stop))
        signals.on_replace(supervisor.replace)
        if await asyncio.to_thread(supervisor.succeed):
            signals.on_stop(supervisor.stop)
            logger.info("the worker is ready, and takes over")
            return supervisor, board
        signals.on_replace(lambda: loop.call_soon_threadsafe(replaced.set))


def _stop_both(supervisor: Supervisor, loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    supervisor.stop()
    loop.call_soon_threadsafe(stop.set)


async def _first(*events: asyncio.Event) -> None:
    """Wait until one of several events has happened."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


@asynccontextmanager
async def _served(
    app: Sanic[Any, Any], listeners: Listeners, *, waits: bool, leave: asyncio.Event
) -> AsyncIterator[None]:
    """Serve an app in this process for as long as the block runs.

    Sanic's own runner loses a signal that comes while it starts, and waits for idle connections when it
    stops; its server object leaves both to us.

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
    logger.info("serving on %s", _url(listeners.public))
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
            await _stop(server, app.ctx.mux_arrivals)


async def _stop(server: Any, arrivals: Arrivals) -> None:
    """Say goodbye to all clients, let requests that have begun end, and end the server."""
    arrivals.leave()
    await server.before_stop()
    closed = server.close()  # from here on nobody listens
    await arrivals.finish(REQUEST_SECONDS)
    await closed
    await server.after_stop()


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
