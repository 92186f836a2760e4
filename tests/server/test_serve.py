"""`mux serve` as processes on a machine: what an operator relies on."""

from __future__ import annotations

import asyncio
import os
import random
import select
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import redis
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.broker.redis_processes import free_ports, redis_process
from tests.support.servers import PATIENCE_SECONDS, ServerProcess, handshake, mux_serve, receive, run_mux, until

PROCESSES = 2


@pytest.fixture(scope="module")
def own_redis(redis_url: str) -> Iterator[redis.Redis]:
    """Return a client of the Redis that the servers of this module share."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


def mux_connections(control: redis.Redis) -> list[str]:
    """Return the names of the connections that are mux'."""
    return [client["name"] for client in control.client_list() if client["name"].startswith("mux-")]


async def test_one_connection_per_process_whatever_the_clients_do(redis_url: str, own_redis: redis.Redis) -> None:
    """200 clients on 100 channels publish and listen, and Redis sees two connections for two processes."""
    with mux_serve("--workers", str(PROCESSES), "--redis-url", redis_url, "--no-announce") as server:
        await until(lambda: len(mux_connections(own_redis)) == PROCESSES)
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(server.connect(f"c{n % 100}")) for n in range(200)]
            await asyncio.gather(*(client.send("hi") for client in clients))
            heard = await asyncio.gather(*(receive(client, 2) for client in clients))
            assert heard == [["hi", "hi"]] * 200
            assert len(mux_connections(own_redis)) == PROCESSES


def test_no_redis_command_on_join_or_leave(redis_url: str, own_redis: redis.Redis) -> None:
    """1,000 clients come and go, each on a channel of its own; Redis is not told."""
    with mux_serve("--redis-url", redis_url, "--no-announce", "--probe-seconds", "3600") as server:
        with _hundred_clients(server, 0):
            before = _calls(own_redis)
        for batch in range(10):
            with _hundred_clients(server, batch):
                pass
        calls = {name: count - before.get(name, 0) for name, count in _calls(own_redis).items()}
    # A process says every ten seconds that it is there, whether anybody joins or not.
    assert calls.pop("cmdstat_publish") < 100
    assert not any(calls.values())


def _calls(control: redis.Redis) -> dict[str, int]:
    stats = control.info("commandstats")
    return {name: stat["calls"] for name, stat in stats.items() if "subscribe" in name or "publish" in name}


@contextmanager
def _hundred_clients(server: ServerProcess, batch: int) -> Iterator[None]:
    clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
    try:
        for number, client in enumerate(clients):
            client.sendall(handshake(server.port, f"c{batch}-{number}"))
        for client in clients:
            assert client.recv(4096).startswith(b"HTTP/1.1 101 ")
        yield
    finally:
        for client in clients:
            client.close()


async def test_two_processes_are_one_feed(redis_url: str, prefix: str) -> None:
    """What is sent at one server arrives at the other, whole, as sent, in one order."""
    options = ("--redis-url", redis_url, "--prefix", prefix, "--no-announce")
    with mux_serve(*options) as one, mux_serve(*options) as other:
        async with one.connect() as a, other.connect() as b:
            messages: list[str | bytes] = ["hi", b"hi", "", b"", "x" * 65536, b"\x00" * 65536, "ü", b"\xff"]
            for message in messages:
                await a.send(message)
            assert await receive(a, 8) == await receive(b, 8) == messages

            async def talk(client: ClientConnection, name: str) -> None:
                for n in range(2000):
                    await client.send(f"{name}{n}" if n % 3 else f"{name}{n}".encode())

            _, _, heard_a, heard_b = await asyncio.gather(
                talk(a, "a"), talk(b, "b"), receive(a, 4000), receive(b, 4000)
            )
    assert heard_a == heard_b
    for name in ("a", "b"):
        own = [m if isinstance(m, str) else m.decode() for m in heard_a]
        assert [text for text in own if text.startswith(name)] == [f"{name}{n}" for n in range(2000)]


async def test_newcomer_hears_while_the_last_one_leaves_on_another_process(redis_url: str, prefix: str) -> None:
    """The race that started all this, five hundred times, at random, over two processes.

    The leaver heard its message in its own process; the other process may be given it a moment later, when the
    newcomer is there already, so the newcomer may hear that message first.
    """
    options = ("--redis-url", redis_url, "--prefix", prefix, "--no-announce")
    dice = random.Random(7)
    with mux_serve(*options) as one, mux_serve(*options) as other:

        async def churn(channel: str) -> None:
            leaver = await one.connect(channel)
            for n in range(25):
                server = dice.choice((one, other))
                leaving = asyncio.create_task(leaver.close())
                for _ in range(dice.randrange(4)):
                    await asyncio.sleep(0)
                newcomer = await server.connect(channel)
                await newcomer.send(f"{channel} {n}")
                heard = await receive(newcomer, 1)
                if heard == [f"{channel} {n - 1}"]:
                    heard = await receive(newcomer, 1)
                assert heard == [f"{channel} {n}"]
                await leaving
                leaver = newcomer
            await leaver.close()

        await asyncio.gather(*(churn(f"race{n}") for n in range(20)))


@pytest.mark.parametrize("workers", [1, 2])
async def test_ctrl_c_says_goodbye_and_exits_0(redis_url: str, prefix: str, workers: int) -> None:
    """Clients get 1001, so that they come back; the operator gets 0 and no traceback; test_drain.py sends SIGTERM."""
    options = ("--redis-url", redis_url, "--prefix", prefix, "--workers", str(workers))
    with mux_serve(*options) as server:
        clients = [await server.connect() for _ in range(4)]
        stopping = asyncio.create_task(asyncio.to_thread(server.stop, signal.SIGINT))
        for client in clients:
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    await asyncio.wait_for(client.recv(), PATIENCE_SECONDS)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
        status, said = await stopping
        assert status == 0, said
        assert "Traceback" not in said


async def test_short_outage_of_redis_is_nobodys_business(tmp_path: Path) -> None:
    """What clients send while Redis is away arrives when it is back, once and in order."""
    port = free_ports(1)[0]
    options = ("--redis-url", f"redis://127.0.0.1:{port}", "--no-announce", "--max-held-seconds", "60")
    with ExitStack() as stack:
        first = stack.enter_context(redis_process(tmp_path / "before", port))
        server = stack.enter_context(mux_serve(*options))
        async with server.connect() as listener, server.connect() as talker:
            await talker.send("before")
            assert await receive(listener, 1) == ["before"]
            first.kill()
            # What is sent before that is lost with the connection, and its sender is told.
            await until(lambda: not _is_ready(server))
            for n in range(100):
                await talker.send(f"{n}")
            stack.enter_context(redis_process(tmp_path / "after", port))
            assert await receive(listener, 100) == [f"{n}" for n in range(100)]


def _is_ready(server: ServerProcess) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{server.port}/readyz") as answer:
            return bool(answer.status == 200)
    except HTTPError:
        return False


async def test_redis_away_and_back(prefix: str) -> None:
    """Without Redis clients stay, publishers are told, and the feed goes on when it is back."""
    with mux_serve("--prefix", prefix, "--no-announce", "--max-held-seconds", "0") as server:
        path = server.welcome.partition("unix://")[2].partition(",")[0]
        control = redis.Redis(unix_socket_path=path)
        pid = int(control.info("server")["process_id"])
        async with server.connect() as listener, server.connect() as talker:
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    await talker.send("hello?")
                    await asyncio.sleep(0.01)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1013

            def publishes() -> bool:
                return run_mux("publish", "lobby", "back", "--url", f"http://127.0.0.1:{server.port}").returncode == 0

            await asyncio.to_thread(_retry, publishes)
            while (await receive(listener, 1)) != ["back"]:
                pass


def _retry(attempt: object) -> None:
    assert callable(attempt)
    deadline = time.monotonic() + 2 * PATIENCE_SECONDS
    while not attempt():
        assert time.monotonic() < deadline, "it never worked"
        select.select([], [], [], 0.05)


async def test_publishers_wait_while_redis_does_not_keep_up(prefix: str) -> None:
    """A stopped Redis stops its publishers, not the server's memory; nothing is lost when it goes on."""
    with mux_serve("--prefix", prefix, "--no-announce", "--max-pending-bytes", "100000000") as server:
        path = server.welcome.partition("unix://")[2].partition(",")[0]
        pid = int(redis.Redis(unix_socket_path=path).info("server")["process_id"])
        async with server.connect() as talker:
            os.kill(pid, signal.SIGSTOP)
            payload = "x" * 60000
            sent = 0
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while True:
                        async with asyncio.timeout(0.5):
                            await talker.send(f"{sent} {payload}")
                        sent += 1
            except TimeoutError:
                pass
            finally:
                os.kill(pid, signal.SIGCONT)
            assert _resident_kib(server.pid) < 150 * 1024
            heard = await receive(talker, sent)
            assert [str(message).split()[0] for message in heard] == [str(n) for n in range(sent)]


def _resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def test_welcome_says_where_to_connect_and_what_to_try(redis_url: str) -> None:
    """The first screen: the address, the Redis, and three lines to copy."""
    with mux_serve("--redis-url", redis_url, "--prefix", "shop:") as server:
        assert f"http://127.0.0.1:{server.port}" in server.welcome
        assert f"Redis: {redis_url}, channels shop:*" in server.welcome
        assert f"python -m websockets ws://127.0.0.1:{server.port}/feed/lobby" in server.welcome
        assert f"mux publish lobby hello --url http://127.0.0.1:{server.port}" in server.welcome
        assert f"curl -d hello http://127.0.0.1:{server.port}/feed/lobby" in server.welcome


def test_embedded_server_goes_with_a_killed_serve() -> None:
    """Not even kill -9 leaves a Valkey or its directory behind."""
    with mux_serve() as server:
        path = Path(server.welcome.partition("unix://")[2].partition(",")[0])
        assert path.is_socket()
        server.stop(signal.SIGKILL)
        _retry(lambda: not path.parent.exists())


def test_embedded_server_is_shared_by_all_processes_and_ends_with_them() -> None:
    """Workers have one Redis between them; a normal end leaves nothing."""
    with mux_serve("--workers", "2") as server:
        path = Path(server.welcome.partition("unix://")[2].partition(",")[0])
        with redis.Redis(unix_socket_path=str(path)) as control:
            _retry(lambda: len(mux_connections(control)) == 2)
        status, _ = server.stop()
        assert status == 0
        assert not path.parent.exists()


async def test_killed_worker_is_replaced(redis_url: str, prefix: str) -> None:
    """kill -9 of one process ends its clients and nobody else's; another takes its place."""
    control = redis.Redis.from_url(redis_url)
    before = set(mux_connections(control))

    def names() -> set[str]:
        return set(mux_connections(control)) - before

    with mux_serve("--redis-url", redis_url, "--prefix", prefix, "--workers", "2") as server:
        await until(lambda: len(names()) == 2)
        first = names()
        os.kill(int(min(first).rpartition("-")[2]), signal.SIGKILL)
        await until(lambda: len(names() - first) == 1 and len(names()) == 2)
        async with server.connect() as client:
            await client.send("still here")
            while (await receive(client, 1)) != ["still here"]:
                pass
        status, said = await asyncio.to_thread(server.stop)
        assert status == 0
        assert "ended with status -9" in said


async def test_worker_that_redis_refuses_says_so_in_a_sentence(prefix: str) -> None:
    """A password that was changed meanwhile is the operator's, and no traceback's, business."""
    with mux_serve("--prefix", prefix, "--workers", "2", "--no-announce") as server:
        control = redis.Redis(unix_socket_path=server.welcome.partition("unix://")[2].partition(",")[0])
        await until(lambda: len(mux_connections(control)) == 2)
        (first, _) = mux_connections(control)
        control.config_set("requirepass", "secret")
        os.kill(int(first.rpartition("-")[2]), signal.SIGKILL)
        said = ""
        assert server.process.stdout is not None
        while "ended with status 1" not in said:
            said += await asyncio.to_thread(server.process.stdout.readline)
        assert "refused the credentials" in said
        assert "Traceback" not in said


async def test_workers_end_with_a_killed_supervisor(redis_url: str, prefix: str) -> None:
    """Nobody is left behind to serve without one who watches."""
    control = redis.Redis.from_url(redis_url)
    before = set(mux_connections(control))
    with mux_serve("--redis-url", redis_url, "--prefix", prefix, "--workers", "2") as server:
        await until(lambda: len(set(mux_connections(control)) - before) == 2)
        server.process.kill()
        await until(lambda: not set(mux_connections(control)) - before)


async def test_second_signal_ends_it_at_once(redis_url: str, prefix: str) -> None:
    """An operator in a hurry does not wait for goodbyes."""
    for workers in ("1", "2"):
        with mux_serve("--redis-url", redis_url, "--prefix", prefix, "--workers", workers) as server:
            mute = socket.create_connection(("127.0.0.1", server.port))
            mute.sendall(handshake(server.port))
            assert mute.recv(4096).startswith(b"HTTP/1.1 101 ")
            with mute:
                server.process.send_signal(signal.SIGTERM)
                await asyncio.to_thread(_goodbye, mute)
                server.process.send_signal(signal.SIGTERM)
                await asyncio.to_thread(server.process.wait, 4)


def _goodbye(client: socket.socket) -> None:
    """Wait for the close frame, and do not answer."""
    while b"\x88" not in client.recv(4096):
        pass


def test_options_come_from_the_environment(redis_url: str) -> None:
    """Every option has a variable; the command line wins."""
    variables = {"MUX_REDIS_URL": redis_url, "MUX_PREFIX": "env:", "MUX_WORKERS": "1", "MUX_ANNOUNCE": "no"}
    with mux_serve("--prefix", "cli:", env=variables) as server:
        assert f"Redis: {redis_url}, channels cli:*" in server.welcome


@pytest.mark.parametrize(
    ("arguments", "env", "status", "words"),
    [
        (["serve", "--prot", "1"], {}, 2, "No such option: --prot"),
        (["frobnicate"], {}, 2, "No such command 'frobnicate'"),
        (["serve", "--port", "many"], {}, 2, "--port"),
        (["serve", "--port", "70000"], {}, 2, "at most 65535"),
        (["serve", "--workers", "0"], {}, 2, "at least 1"),
        (["serve", "--log-level", "loud"], {}, 2, "loud"),
        (["serve", "--prefix", "a b"], {}, 2, "prefix"),
        (["serve", "--allowed-origin", "example.com"], {}, 2, "scheme://host"),
        (["serve", "--redis-url", "http://h"], {}, 2, "redis://"),
        (["serve"], {"MUX_PORT": "x"}, 2, "MUX_PORT is 'x'"),
        (["serve"], {"MUX_ANNOUNCE": "maybe"}, 2, "yes or no"),
        (["serve", "--port", "0", "--redis-url", "redis://127.0.0.1:{port}"], {}, 1, "connection refused"),
        (["serve", "--port", "0", "--redis-url", "redis://nowhere.invalid"], {}, 1, "cannot reach Redis"),
        (["serve", "--port", "0", "--redis-url", "unix:///nowhere.sock"], {}, 1, "cannot reach Redis"),
        (["serve", "--port", "0", "--redis-url", "{redis}?username=x&password=secret"], {}, 1, "credentials"),
        (["serve", "--host", "192.0.2.1"], {}, 1, "--host"),
        (["serve", "--host", "nowhere.invalid"], {}, 1, "--host"),
        (["serve", "--port", "{taken}"], {}, 1, "is in use"),
        (["publish", "lobby", "hi", "--url", "http://127.0.0.1:{port}"], {}, 1, "no mux answers"),
        (["publish", "lobby", "hi", "--url", "ftp://x"], {}, 2, "http://127.0.0.1:8000"),
        (["publish", "lobby", "hi", "--url", "http://h:x"], {}, 2, "cannot be used"),
        (["tail", "lobby", "--url", "http://127.0.0.1:{port}"], {}, 1, "no mux answers"),
        (["publish", "lobby", "hi", "--url", "http://a..b"], {}, 1, "no mux answers"),
        (["publish", "lobby\udcff", "hi", "--url", "http://127.0.0.1:{port}"], {}, 1, "no mux answers"),
        (["tail", "lobby\udcff", "--url", "http://127.0.0.1:{port}"], {}, 1, "no mux answers"),
        (["serve", "--host", "a..b"], {}, 1, "--host"),
        (["serve", "--host", "\udcff"], {}, 2, "host must be a name"),
        (["serve", "--port", "0", "--redis-url", "redis://a..b"], {}, 1, "cannot reach Redis"),
        (["publish"], {}, 2, "CHANNEL"),
    ],
)
def test_mistakes_end_in_one_sentence(
    redis_url: str, free_port: int, arguments: list[str], env: dict[str, str], status: int, words: str
) -> None:
    """Whatever an operator gets wrong: a sentence, no traceback, and a status that is not 0."""
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        taken = squatter.getsockname()[1]
        ended = run_mux(*(word.format(port=free_port, redis=redis_url, taken=taken) for word in arguments), env=env)
    assert ended.returncode == status
    assert ended.stderr.startswith("mux: ")
    assert ended.stderr.count("\n") == 1
    assert words in ended.stderr
    assert "secret" not in ended.stderr


OPEN = "whoever reaches this address may listen to every channel"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--host", "0.0.0.0"], f"{OPEN} and publish to it; --token-key changes that"),
        (["--host", "0.0.0.0", "--no-client-publish"], f"{OPEN}; --token-key changes that"),
        (["--host", "0.0.0.0", "--token-key", "k" * 32], ""),
        ([], ""),
    ],
)
def test_it_is_said_that_everybody_may_do_everything(prefix: str, options: list[str], says: str) -> None:
    """In one line, where others than this machine can reach the server and there is no key."""
    with mux_serve("--prefix", prefix, *options) as server:
        _, log = server.stop()
    lines = [line for line in (server.welcome + log).splitlines() if "whoever" in line]
    assert len(lines) == bool(says)
    assert says in "".join(lines)


def test_a_key_that_cannot_be_is_told_before_anything_listens() -> None:
    """Once, with the status of what is misused, and not by every worker."""
    ended = run_mux("serve", "--port", "0", "--workers", "2", "--token-key", "/nowhere/secret.pem")
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "cannot be read: no such file" in ended.stderr
    assert "secret.pem" not in ended.stderr
