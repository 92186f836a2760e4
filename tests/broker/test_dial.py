"""Getting to a server: its name, its addresses, TLS; and that what goes wrong there is told truly."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from mux.broker import dial
from mux.broker.address import Address
from mux.broker.loss import reason_of, reason_of_garbage
from mux.errors import BrokerUnavailable
from tests.broker.test_broker import open_once, scripted_redis
from tests.broker.tls import Authority, tls_front
from tests.support.servers import BOTH_LOOPS, PATIENCE_SECONDS

pytestmark = BOTH_LOOPS


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Return an authority that nobody trusts unless told to."""
    return Authority(tmp_path)


@contextmanager
def dead_address(port: int) -> Iterator[str]:
    """Give an address of this machine whose port never answers: whoever listens there has a full queue."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.2", port))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.2", port))
        yield "127.0.0.2"


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name have these addresses."""

    async def resolve(loop: asyncio.AbstractEventLoop, host: str, port: int) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, port)) for address in addresses]

    monkeypatch.setattr(dial, "resolve", resolve)


async def test_second_address_of_a_name_is_reached_when_the_first_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead address says nothing; the next one is tried after a moment, and long before the time is over."""
    async with scripted_redis(then=asyncio.Event()) as url:
        port = int(url.rpartition(":")[2])
        with dead_address(port) as dead:
            resolve_to(monkeypatch, dead, "127.0.0.1")
            connection = await open_once(f"redis://two-addresses:{port}")
        connection.abort()
        await connection.lost


async def test_next_address_is_tried_at_once_when_one_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to wait for after a refusal."""
    monkeypatch.setattr(dial, "STAGGER_SECONDS", 10 * PATIENCE_SECONDS)
    async with scripted_redis(then=asyncio.Event()) as url:
        resolve_to(monkeypatch, "127.0.0.3", "127.0.0.4", "127.0.0.1")
        connection = await open_once(f"redis://three:{url.rpartition(':')[2]}?socket_connect_timeout=60")
        connection.abort()
        await connection.lost


async def test_sockets_of_addresses_that_lose_are_closed(monkeypatch: pytest.MonkeyPatch, free_port: int) -> None:
    """Whether another was reached or the time is over, no socket is left: one would be a warning, and so an error."""
    monkeypatch.setattr(dial, "STAGGER_SECONDS", 0.001)
    with dead_address(free_port) as dead:
        resolve_to(monkeypatch, dead, dead)
        with pytest.raises(BrokerUnavailable, match=r"was not reached in 0\.1 s"):
            await open_once(f"redis://dead:{free_port}?socket_connect_timeout=0.1")
    resolve_to(monkeypatch)
    with pytest.raises(BrokerUnavailable, match="the name has no address"):
        await open_once("redis://nothing")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://nowhere.invalid", "not known|temporary failure|no address"),
        ("redis://a..b", "it is no name of a host|not known|temporary failure"),
        ("redis://127.0.0.1:{free}", "connection refused"),
        ("unix:///nowhere/redis.sock", "no such file or directory"),
        ("unix:///" + "x" * 200, "path too long|file name too long"),
    ],
)
async def test_what_the_system_says_is_passed_on(url: str, words: str, free_port: int) -> None:
    """In half a sentence, without numbers."""
    with pytest.raises(BrokerUnavailable, match=words) as told:
        await open_once(url.format(free=free_port))
    assert "Errno" not in str(told.value)
    assert told.value.__cause__ is None


async def test_tls_that_works(redis_url: str, authority: Authority) -> None:
    """A name and an authority that the certificate is of."""
    async with tls_front(authority.context("localhost"), path=redis_url.removeprefix("unix://")) as port:
        connection = await open_once(f"rediss://localhost:{port}?ssl_ca_certs={authority.path}")
        await connection.aclose()
        await connection.lost


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("rediss://localhost:{tls}", "its certificate is not trusted: .*see ssl_ca_certs"),
        ("rediss://localhost:{tls}?ssl_ca_certs={other}", "its certificate is not trusted"),
        ("rediss://127.0.0.1:{tls}?ssl_ca_certs={ca}", "its certificate is for another name: ip address mismatch"),
        ("rediss://localhost:{elsewhere}?ssl_ca_certs={ca}", "its certificate is for another name: hostname mismatch"),
        ("rediss://localhost:{strict}?ssl_ca_certs={ca}", "want(s)? a certificate of ours"),
        ("rediss://localhost:{web}", "it does not speak TLS"),
        ("rediss://localhost:{silent}?socket_connect_timeout=0.1", "did not complete the TLS handshake in 0.1 s"),
        ("rediss://localhost:{hasty}", "it ended the connection in the TLS handshake|connection reset"),
        ("redis://localhost:{tls}", "TLS[,;] name it as rediss://"),
        ("redis://localhost:{web}", "it is a web server"),
        ("redis://localhost:{hasty}", "if it speaks TLS, name it as rediss://"),
    ],
)
async def test_tls_failures_are_told_truly(
    url: str, words: str, redis_url: str, authority: Authority, tmp_path: Path
) -> None:
    """They all were "operation not permitted": the number of an SSLError is none of the system's."""
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    path = redis_url.removeprefix("unix://")

    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    async with AsyncExitStack() as stack:
        ports = {
            "tls": await stack.enter_async_context(tls_front(authority.context("localhost"), path=path)),
            "elsewhere": await stack.enter_async_context(tls_front(authority.context("example.com"), path=path)),
            "strict": await stack.enter_async_context(
                tls_front(authority.context("localhost", wants_certificate=True), path=path)
            ),
        }
        for name, talk in (("web", web), ("silent", silent), ("hasty", hasty)):
            server = await stack.enter_async_context(await asyncio.start_server(talk, "127.0.0.1", 0))
            ports[name] = server.sockets[0].getsockname()[1]
        with pytest.raises(BrokerUnavailable, match=words) as told:
            await open_once(url.format(ca=authority.path, other=other.path, **ports))
    assert not any(wrong in str(told.value) for wrong in ("permitted", "exec format", "Errno", "_ssl.c"))


@pytest.mark.parametrize("number", [1, 2, 5, 6, 8])
async def test_no_number_of_openssl_is_taken_for_one_of_the_system(number: int) -> None:
    """Whatever OpenSSL calls a failure, it is said to be one of TLS."""
    error = ssl.SSLError(number, "[SSL: DH_KEY_TOO_SMALL] dh key too small (_ssl.c:1006)")
    error.reason = "DH_KEY_TOO_SMALL"
    assert reason_of(error) == "TLS failed: dh key too small"


async def test_what_is_there_instead_of_redis_is_told_by_its_first_bytes() -> None:
    """And else by what is wrong with them."""
    assert "SSH" in reason_of_garbage(ValueError("x"), b"SSH-2.0-OpenSSH\r\n")
    assert reason_of_garbage(ValueError("x"), b"?!") == "what came is not Redis' protocol (x)"
    assert str(Address(host="::1", port=7)) == "redis://[::1]:7"
