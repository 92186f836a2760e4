"""`mux serve`: one listening socket, one Redis, and as many processes as were asked for.

What can go wrong for the operator goes wrong here, before a process serves: the address is taken, Redis
is not there or not for us, no server can be started. Sanic gets the socket ready-made.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from multiprocessing import parent_process

import uvloop

from mux.broker.location import check_redis, parse_location
from mux.doorstep.backlog import turn_away
from mux.errors import MuxError, SystemRefused
from mux.grants.authority import Authority
from mux.logs.lines import STDOUT, configure_logging, json_line
from mux.logs.writer import write_at_once
from mux.machine import raise_descriptor_limit
from mux.metrics.board import Board, Row
from mux.serve.application import create_app, is_of_this_machine
from mux.serve.embedded import embedded_server
from mux.serve.listening import Listeners, listening_socket, ops_socket, place_of, url_of
from mux.serve.process import served
from mux.serve.signals import HANDLED, Signals
from mux.serve.supervisor import Supervisor
from mux.serve.token_file import draw, token_file
from mux.settings.misspelt import unknown_variables
from mux.settings.settings import Settings
from mux.version import __version__
from mux.wire.channel import Namespace

logger = logging.getLogger("mux.serve.run")

STOP_SECONDS = 5.0
"""A worker is killed this long after the drain's time; a worker in order needs less."""


OPEN_TO_ALL = "whoever reaches this address may listen to every channel and publish to it; --token-key changes that"

OPEN_TO_LISTEN = "whoever reaches this address may listen to every channel; --token-key changes that"


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
    is_open = Authority(settings).is_open  # the workers would stumble over its key one after the other
    raise_descriptor_limit()
    with (
        listening_socket(settings.host, settings.port) as sock,
        ops_socket(settings) as ops_sock,
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
        if is_open and not is_of_this_machine(sock):
            logger.warning("%s", OPEN_TO_ALL if settings.client_publish else OPEN_TO_LISTEN)
        _welcome(settings, url_of(sock), str(location), link, ops_sock)
        if supervisor is None:
            supervisor = uvloop.run(_serve_alone(settings, listeners, signals))
        if supervisor is not None:
            supervisor.run(signals)
        turn_away(sock)


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


def _redis(settings: Settings) -> AbstractContextManager[str]:
    return embedded_server() if settings.redis_url is None else nullcontext(settings.redis_url)


def _welcome(settings: Settings, url: str, redis: str, link: str, ops_sock: socket.socket | None) -> None:
    option = "" if url == "http://127.0.0.1:8000" else f" --url {url}"
    text = (
        f"mux {__version__} on {url}, {settings.workers} process{'' if settings.workers == 1 else 'es'}\n"
        f"Redis: {redis}, channels {settings.prefix}*\n"
        + (f"Open {url}/{link} in a browser\n" if settings.page else "")
        + (f"Health and numbers: {place_of(ops_sock)}\n" if ops_sock is not None else "")
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
    async with served(app, listeners, waits=replaces, leave=leave):
        row.set_ready()
        await _first(stop, leave)


async def _serve_alone(settings: Settings, listeners: Listeners, signals: Signals) -> Supervisor | None:
    """Serve until a signal, or on SIGHUP until a worker has taken over, whose supervisor is returned."""
    stop, leave, replaced = asyncio.Event(), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    signals.on_stop(lambda: loop.call_soon_threadsafe(stop.set))
    signals.on_replace(lambda: loop.call_soon_threadsafe(replaced.set))
    app = create_app(settings, None, listeners.ops)
    async with served(app, listeners, waits=False, leave=leave):
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
