"""What `mux serve` says, to whom, and what becomes of it when nobody listens."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import orjson
import pytest

from tests.broker.redis_processes import redis_process
from tests.support.servers import PATIENCE_SECONDS, mux_serve, run_mux, serving, until


@pytest.fixture
def stalled() -> Iterator[int]:
    """Return a pipe that is full, and that nobody reads."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    yield writer
    os.close(reader)
    os.close(writer)


def bad_request(port: int) -> bytes:
    """Send what is no HTTP, and return the first word of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as client:
        client.sendall(b"GET / HTTP/1.1\r\nno field\r\n\r\n")
        return client.recv(8)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_log_that_nobody_reads_stops_nothing(redis_url: str, prefix: str, stalled: int, workers: str) -> None:
    """Requests are answered, one signal stops the server, and it ends; a stranger's mistakes are lines as well."""
    options = ["--redis-url", redis_url, "--prefix", prefix, "--workers", workers, "--log-level", "debug"]
    command = [sys.executable, "-m", "mux", "serve", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stalled, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://127.0.0.1:(\d+)", process.stdout.readline())
        assert found
        for _ in range(50):
            bad_request(int(found[1]))
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0


def test_a_banner_that_nobody_reads_stops_nothing(redis_url: str, prefix: str, stalled: int) -> None:
    """`mux serve | less`, or a pipe whose other end is gone."""
    command = [sys.executable, "-m", "mux", "serve", "--port", "0", "--redis-url", redis_url, "--prefix", prefix]
    gone_reader, gone = os.pipe()
    os.close(gone_reader)
    for stdout in (stalled, gone):
        with subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            assert any("serving on http://127.0.0.1:" in line for line in process.stderr)
            process.terminate()
            assert process.wait(PATIENCE_SECONDS) == 0
    os.close(gone)


def test_a_server_without_standard_streams_serves(redis_url: str, prefix: str, free_port: int) -> None:
    """What was closed before it started is none of its sockets' numbers: nothing is printed into a connection."""
    options = ["--port", str(free_port), "--redis-url", redis_url, "--prefix", prefix]
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-m", "mux", "serve", *options]
    with subprocess.Popen(command) as process:
        answer = b""
        while not answer:
            assert process.poll() is None
            with suppress(ConnectionRefusedError):
                answer = bad_request(free_port)
        assert answer == b"HTTP/1.1"
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0


@pytest.mark.parametrize(
    ("arguments", "env", "status", "words"),
    [
        (["serve", "--log-json", "--redis-url", "redis://127.0.0.1:{port}"], {}, 1, "cannot reach Redis"),
        (["--log-json", "--port", "many"], {}, 2, "--port"),
        (["serve", "--log-json", "--prot", "1"], {}, 2, "No such option"),
        ([], {"MUX_LOG_JSON": "yes", "MUX_ANNOUNCE": "maybe"}, 2, "MUX_ANNOUNCE"),
    ],
)
def test_with_json_a_mistake_is_json(
    free_port: int, arguments: list[str], env: dict[str, str], status: int, words: str
) -> None:
    """One object, whatever is wrong, and though the settings could not be read."""
    ended = run_mux(*(word.format(port=free_port) for word in arguments), env={"MUX_PORT": "0", **env})
    assert ended.returncode == status
    entry = orjson.loads(ended.stderr)
    assert entry["level"] == "critical"
    assert words in entry["message"]
    assert not ended.stdout


def test_other_commands_and_servers_without_json_say_it_in_words(free_port: int) -> None:
    """A person reads what `mux publish` says, whatever the server's variables are."""
    url = f"http://127.0.0.1:{free_port}"
    assert run_mux("publish", "a", "b", "--url", url, env={"MUX_LOG_JSON": "yes"}).stderr.startswith("mux: ")
    assert run_mux("serve", "--no-log-json", "--prot", "1", env={"MUX_LOG_JSON": "yes"}).stderr.startswith("mux: ")


def test_with_json_the_banner_is_json(redis_url: str, prefix: str) -> None:
    """The first line of standard output, and every other line."""
    with mux_serve("--redis-url", redis_url, "--prefix", prefix, "--log-json") as server:
        assert bad_request(server.port) == b"HTTP/1.1"  # it serves
        status, said = server.stop()
    assert status == 0
    banner, *rest = [orjson.loads(line) for line in (server.welcome + said).splitlines()]
    assert f"http://127.0.0.1:{server.port}" in banner["message"]
    messages = [entry["message"] for entry in rest]
    assert any(message == f"serving on http://127.0.0.1:{server.port}" for message in messages)


def test_the_log_tells_a_server_from_start_to_end(redis_url: str, prefix: str) -> None:
    """One line each: it serves, why it stops, the drain has begun, and it is done, also without a client."""
    with mux_serve("--redis-url", redis_url, "--prefix", prefix) as server:
        assert bad_request(server.port) == b"HTTP/1.1"  # it serves
        status, said = server.stop(signal.SIGQUIT)
    assert status == 0
    said = server.welcome + said
    lines = ["serving on http://127.0.0.1:", "SIGQUIT: stopping", "draining: ", "drained: 0 clients in "]
    assert [said.count(line) for line in lines] == [1] * len(lines)
    assert sorted(lines, key=said.index) == lines


async def test_the_log_tells_of_redis_there_and_back(
    tmp_path: Path, free_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    """One line when it is subscribed, and one with how long it was away when it is again."""
    caplog.set_level(logging.INFO, "mux.broker")
    url = f"redis://127.0.0.1:{free_port}"
    with redis_process(tmp_path / "before", free_port) as first:
        async with serving(redis_url=url) as feed:
            assert [record.getMessage() for record in caplog.records] == [f"subscribed at {url}"]
            first.kill()
            await until(lambda: not feed.mux._core.broker.is_connected)
            with redis_process(tmp_path / "after", free_port):
                await until(lambda: feed.mux._core.broker.is_connected)
    (back,) = [message for record in caplog.records if "again after" in (message := record.getMessage())]
    assert re.fullmatch(rf"connected to Redis at {url} again after \d+\.\d s", back)


APP = """
import sys
from sanic import Sanic
from sanic_testing.testing import SanicTestClient
from mux import Mux
app = Sanic("shop")
Mux(app, redis_url=sys.argv[1], prefix=sys.argv[2])
SanicTestClient(app, port=None).get("/feed/lobby")
"""


def test_in_an_app_the_lines_of_mux_look_like_sanics(redis_url: str, prefix: str, tmp_path: Path) -> None:
    """They are where Sanic's are, in its format, though nobody has configured anything for them."""
    ended = subprocess.run(
        [sys.executable, "-c", APP, redis_url, prefix],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        timeout=PATIENCE_SECONDS,
    )
    shape = re.compile(r"(\S+ +\S+ \S+ \S+) (INFO): +(.*)")
    lines = {match[3]: match[2] for match in map(shape.match, ended.stdout.splitlines()) if match}
    assert any(line.startswith("drained: 0 clients") for line in lines), ended.stdout
    assert any(line.startswith(("Goin' Fast", "Starting worker")) for line in lines), ended.stdout
    assert "drained" not in ended.stderr
