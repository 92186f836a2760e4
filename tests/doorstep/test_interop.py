"""Clients and proxies as they are installed: nginx, curl, Java's HttpClient and HAProxy.

What nginx refuses mux refuses: a server that takes more than the proxy before it lets through what the proxy was to
keep out. The other way round mux is stricter in the kinds of `STRICTER`, each with its reason.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.doorstep.conftest import Serve, Served
from tests.support.nginx import NGINX, nginx, reachable
from tests.support.servers import CONNECT_OPTIONS, PATIENCE_SECONDS, raw_client
from tests.wire.http.heads import REFUSED, TAKEN

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
JAVA = shutil.which("java")
CURL = shutil.which("curl")

STRICTER = {
    "no field at all (5)": "nginx drops the line and goes on; a line that is dropped may have been a Host or a length",
    "a control character in a value (5.5)": "nginx refuses NUL alone, and it would reach logs and terminals",
    "a bare LF (2.2)": "nginx takes it for the end of a line, as RFC 9112 allows; then heads have two readings",
    "no Host, two, or none that names a host (3.2)": "nginx takes a Host with a user before it",
    "a target that is none (3.2)": "nginx cuts a fragment off, and takes a URL of any scheme",
    "a character that no target has (3.2)": "nginx takes bytes above 127",
    "a line that is none (3)": "nginx takes more blanks than one between its words, and at its end",
    "a method that is none (9.1 of RFC 9110)": "nginx takes any word in capitals, and leaves it to who answers",
    "a target of more than 8 KiB": "nginx has 32 KiB of line here; mux has no target that long",
    "a head of more than 32 KiB": "nginx bounds each line, and how many buffers they fill, instead of the sum",
}
"""Kinds of which nginx, or an older one, takes a spelling, each with the reason; of the others it takes none."""

ACCEPTS_ALL = "large_client_header_buffers 4 32k; server { listen 127.0.0.1:{listen}; return 200; }"


async def exchange(port: int, data: bytes) -> int:
    """Send bytes on a connection of their own and return the status of the answer, or 0 when there is none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            writer.write(data)
            writer.write_eof()
            answer = await reader.readline()
        return int(answer[9:12] or 0)
    finally:
        writer.transport.abort()


@pytest.mark.skipif(NGINX is None, reason="no nginx on this machine")
async def test_nothing_is_taken_that_nginx_refuses(served: Served, free_port: int, tmp_path: Path) -> None:
    """Every head of the tables is sent to both; mux is the stricter one in kinds with a reason, and in no other."""
    with nginx(ACCEPTS_ALL, free_port, served.port, tmp_path):
        await reachable(free_port)
        for kind, spellings in TAKEN.items():
            for data in spellings:
                assert (await exchange(free_port, data), await exchange(served.port, data)) == (200, 404), (kind, data)
        stricter = set()
        for kind, (status, spellings) in REFUSED.items():
            for data in spellings:
                assert await exchange(served.port, data) == status, (kind, data)
                if await exchange(free_port, data) == 200:
                    stricter.add(kind)
    assert stricter <= set(STRICTER)


async def output(*command: str) -> str:
    """Run a command to its end and return what it wrote."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return said.decode()


@pytest.mark.skipif(CURL is None, reason="no curl on this machine")
async def test_curl_that_offers_http_2(served: Served) -> None:
    """`curl --http2` offers h2c in its request; it is answered in HTTP/1.1, a POST as well as an event stream."""
    url = f"http://127.0.0.1:{served.port}/feed/lobby"
    curl = ("curl", "-sS", "--http2", "--max-time", str(PATIENCE_SECONDS), "-w", "%{http_version} %{http_code}")
    async with raw_client(served.port) as listener:
        assert await output(*curl, "-d", "hello", url) == "1.1 204"
        assert await listener.read(7) == b"\x81\x05hello"
    process = await asyncio.create_subprocess_exec(
        "curl", "-sSN", "--http2", "-H", "Accept: text/event-stream", url, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not len(served.hub):
                await asyncio.sleep(0.005)
            assert await output(*curl, "-d", "hello", url) == "1.1 204"
            await process.stdout.readuntil(b"data: hello\n")
    finally:
        process.terminate()
        await process.wait()


TWICE = """
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;

class Twice {
    public static void main(String[] arguments) throws Exception {
        var client = HttpClient.newHttpClient();
        var post = HttpRequest.newBuilder(URI.create(arguments[0])).POST(BodyPublishers.ofString("hello")).build();
        for (int i = 0; i < 2; i++) {
            var answer = client.send(post, BodyHandlers.ofString());
            System.out.println(answer.version() + " " + answer.statusCode());
        }
    }
}
"""
"""Java's own HTTP client as it comes: it prefers HTTP/2, and so offers h2c with every request in the clear."""


@pytest.mark.skipif(JAVA is None, reason="no Java on this machine")
async def test_javas_http_client_that_offers_http_2(served: Served, tmp_path: Path) -> None:
    """It is answered in HTTP/1.1, the first time and on the connection it keeps, and what it posts arrives."""
    program = tmp_path / "Twice.java"
    program.write_text(TWICE)
    async with raw_client(served.port) as listener:
        said = await output(
            "java", "-XX:TieredStopAtLevel=1", str(program), f"http://127.0.0.1:{served.port}/feed/lobby"
        )
        assert said.split() == ["HTTP_1_1", "204"] * 2, said
        assert await listener.read(14) == b"\x81\x05hello" * 2


HAPROXY_CONFIGURATION = """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 1h
frontend clients
    bind 127.0.0.1:{listen}
    default_backend mux
backend mux
    option httpchk GET /readyz
    server one 127.0.0.1:{port}
"""


@asynccontextmanager
async def haproxy(listen: int, port: int, directory: Path) -> AsyncIterator[None]:
    """Run HAProxy before a server for as long as the block runs."""
    assert HAPROXY is not None
    configuration = directory / "haproxy.cfg"
    configuration.write_text(HAPROXY_CONFIGURATION.replace("{listen}", str(listen)).replace("{port}", str(port)))
    process = await asyncio.create_subprocess_exec(HAPROXY, "-db", "-q", "-f", str(configuration))
    try:
        await reachable(listen)
        yield
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.skipif(HAPROXY is None, reason="no HAProxy on this machine")
async def test_haproxy_before_mux(serve: Serve, free_port: int, tmp_path: Path) -> None:
    """Requests, a WebSocket and what it is sent pass HAProxy in its HTTP mode."""
    async with serve() as served, haproxy(free_port, served.port, tmp_path):
        alive = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        post = b"POST /feed/lobby HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"
        assert await exchange(free_port, alive) == 200
        async with connect(f"ws://127.0.0.1:{free_port}/feed/lobby", **CONNECT_OPTIONS) as client:
            assert await exchange(free_port, post) == 204
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await client.recv() == "hello"
                await client.send("from the client")
                assert await client.recv() == "from the client"
        assert await exchange(free_port, alive) == 200
