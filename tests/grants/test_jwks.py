"""Keys at a URL, of a real small server that changes them, hangs, lies, and goes away."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
import trustme

from mux import reasons
from mux.grants import jwks
from mux.grants.authority import Authority
from mux.grants.grants import Grants
from mux.grants.jwks import AHEAD_SECONDS, KEPT_SECONDS, MAX_BYTES, MAX_KEYS, PAUSE_SECONDS, KeySet
from mux.settings.settings import Settings
from tests.support.key_server import KeyServer, jwk, key_server
from tests.support.refusals import refused
from tests.support.tokens import AUDIENCE, claims, private_key


def signed(number: int, kid: str | None = "", **others: Any) -> str:
    """Return a token of private_key(number); kid names another key, or None."""
    headers = None if kid is None else {"kid": kid or f"key{number}"}
    return jwt.encode(claims(**others), private_key(number), "ES256", headers=headers)


@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    """A server, for as long as the test runs."""
    async with key_server() as one:
        yield one


class Clock:
    """Tells a time that tests move."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def key_set(server: KeyServer, clock: Clock, removed: list[int] | None = None) -> AsyncIterator[KeySet]:
    """Give the keys of a server, fetched once."""
    keys = KeySet(server.url, on_removed=lambda: None if removed is None else removed.append(1), clock=clock)
    keys.start()
    await keys.renew()
    try:
        yield keys
    finally:
        await keys.aclose()


@asynccontextmanager
async def authority(server: KeyServer) -> AsyncIterator[Authority]:
    """Give what knows what the tokens of a server's keys grant."""
    knows = Authority(Settings(token_jwks_url=server.url, token_audience=AUDIENCE, max_token_checks_per_second=1000))
    knows.start()
    try:
        yield knows
    finally:
        await knows.aclose()


async def granted(knows: Authority, token: str) -> Grants:
    """Return what a token grants, however long it takes."""
    found = knows.grants(token, "")
    return found if isinstance(found, Grants) else await found()


async def test_keys_are_fetched_ahead(server: KeyServer) -> None:
    """A token that comes later waits for nothing; one that comes first waits for the fetch that is under way."""
    async with authority(server) as knows:
        assert not knows.is_open
        assert callable(knows.grants(signed(0), ""))
        assert (await granted(knows, signed(0))).subject == "ada"
        assert isinstance(knows.grants(signed(0, jti="another"), ""), Grants)
        assert server.asked == 1


async def test_all_that_wait_do_so_for_one_fetch(server: KeyServer) -> None:
    """However many tokens name a key that is not known."""
    async with authority(server) as knows:
        many = [signed(0, jti=str(number)) for number in range(50)]
        assert len(await asyncio.gather(*(granted(knows, token) for token in many))) == 50
        assert server.asked == 1


async def test_whoever_stops_waiting_ends_the_fetch_for_nobody_else(server: KeyServer) -> None:
    """A client that is gone does not wait any more, and the others do."""
    async with authority(server) as knows:
        waiting = [asyncio.ensure_future(granted(knows, signed(0, jti=str(number)))) for number in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        assert (await waiting[1]).subject == "ada"


async def test_a_new_key_is_fetched_when_a_token_names_it(server: KeyServer) -> None:
    """Not sooner after the fetch before than it may be, and then the old key is none any more."""
    clock, removed = Clock(), list[int]()
    async with key_set(server, clock, removed) as keys:
        server.keys = [jwk(1)]
        assert not keys.may_wait
        assert keys.refusal().reason is reasons.UNAUTHORIZED
        clock.now += PAUSE_SECONDS
        assert removed == []
        await keys.renew()
        assert keys.find("key1") is not None
        assert keys.find("key0") is None
        assert (removed, server.asked) == ([1], 2)


async def test_tokens_of_unknown_keys_fetch_no_more_often_than_may_be(server: KeyServer) -> None:
    """Whoever sends them, and however many."""
    async with authority(server) as knows:
        await granted(knows, signed(0))
        for number in range(100):
            with refused(reasons.UNAUTHORIZED, "a key that is not known"):
                await granted(knows, signed(0, kid=f"unknown{number}"))
        assert server.asked == 1


async def test_a_token_is_refused_when_its_key_has_left_the_set(server: KeyServer) -> None:
    """Known tokens are checked again then."""
    async with authority(server) as knows:
        token = signed(0)
        await granted(knows, token)
        server.keys = [jwk(0, use="enc"), jwk(1)]
        assert knows._key_set is not None
        knows._key_set._begin()
        await knows._key_set.renew()
        with refused(reasons.UNAUTHORIZED, "a key that is not known"):
            await granted(knows, token)


async def test_keys_stay_while_they_cannot_be_fetched(server: KeyServer, caplog: pytest.LogCaptureFixture) -> None:
    """For an hour, and it is logged once that they cannot; then only tokens that are known are taken."""
    clock = Clock()
    async with key_set(server, clock) as keys:
        server.says(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
        for _ in range(3):
            clock.now += PAUSE_SECONDS
            await keys.renew()
        assert keys.find("key0") is not None
        assert keys.refusal().reason is reasons.TOKEN_KEYS
        assert [record.getMessage() for record in caplog.records] == [
            "the keys of tokens cannot be had from 127.0.0.1: it answered 503"
        ]
        clock.now = 1000 + KEPT_SECONDS + 1
        assert keys.find("key0") is None
        server.answer = server.usual
        await keys.renew()
        assert keys.find("key0") is not None
        assert "are had again" in caplog.text
        assert server.asked == 5


async def test_a_server_that_goes_away_refuses_new_tokens_and_never_known_ones(server: KeyServer) -> None:
    """Nobody is there, and what has been found good stays so."""
    async with authority(server) as knows:
        token = signed(0)
        await granted(knows, token)
        keys = knows._key_set
        assert keys is not None
        keys._url = keys._url._replace(netloc="127.0.0.1:9")
        keys._had_at = keys._began_at = float("-inf")
        with refused(reasons.TOKEN_KEYS):
            await granted(knows, signed(0, jti="new"))
        with refused(reasons.TOKEN_KEYS):  # at once, for it has just been tried
            knows.grants(signed(0, jti="newer"), "")
        assert knows.grants(token, "") is await granted(knows, token)


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "it did not answer"),
        (b"SSH-2.0-OpenSSH\r\n", "its answer is no HTTP"),
        (HEAD + b"Content-Length: 100\r\n\r\n{}", "its answer was cut off"),
        (HEAD + b"Content-Length: 99999999\r\n\r\n" + b" " * MAX_BYTES, "its answer is larger than 262144 bytes"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1000\r\n%b\r\n" % (b" " * 4096) * 64, "is larger than"),
        (HEAD + b"X: y\r\n" * 50_000, "is larger than|no HTTP"),
        (HEAD + b"Content-Length: 2\r\n\r\n{}", "its answer is no JWK set"),
        (HEAD + b"Content-Length: 11\r\n\r\n" + b'{"keys":[]}', "it has no key that tokens can be checked with"),
        (HEAD + b"\r\n" + b"[" * 9999, "its answer is no JWK set"),
        (b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", "it answered 302"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "it answered 101|no HTTP"),
    ],
)
async def test_what_is_no_set_of_keys_is_not_taken_for_one(
    server: KeyServer, caplog: pytest.LogCaptureFixture, answer: bytes, why: str
) -> None:
    """The log says what it is, and no fetch follows where it leads."""
    server.says(answer)
    async with key_set(server, Clock()) as keys:
        assert keys.find("key0") is None
        assert keys.refusal().reason is reasons.TOKEN_KEYS
        assert server.asked == 1
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert re.search(why, record.getMessage()), record.getMessage()
        assert "keys.json" not in record.getMessage()


@pytest.mark.parametrize("says", [b"", HEAD, HEAD + b"Content-Length: 9999\r\n\r\n{"])
async def test_a_server_that_hangs_is_waited_for_so_long(
    server: KeyServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, says: bytes
) -> None:
    """Wherever it stops, and if it says a little again and again."""
    monkeypatch.setattr(jwks, "FETCH_SECONDS", 0.1)

    async def hangs(writer: asyncio.StreamWriter) -> None:
        writer.write(says)
        for _ in range(1000):
            await asyncio.sleep(0.01)
            writer.write(b" " if says.endswith(b"{") else b"")
            await writer.drain()

    server.answer = hangs
    async with key_set(server, Clock()) as keys:
        assert keys.find("key0") is None
        assert "it did not answer within 0.1 s" in caplog.text


async def test_a_fetch_that_is_under_way_ends_with_the_app(server: KeyServer) -> None:
    """Nothing waits for a server that hangs."""

    async def hangs(writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    server.answer = hangs
    async with authority(server) as knows:
        waiting = asyncio.ensure_future(granted(knows, signed(0)))
        while not server.asked:
            await asyncio.sleep(0)
    with refused(reasons.TOKEN_KEYS):
        await waiting


@pytest.mark.parametrize("is_lost", [False, True])
async def test_keys_are_fetched_again_and_again(
    server: KeyServer, monkeypatch: pytest.MonkeyPatch, *, is_lost: bool
) -> None:
    """Ahead of the tokens, and sooner when a fetch has failed."""
    monkeypatch.setattr(jwks, "AHEAD_SECONDS" if not is_lost else "PAUSE_SECONDS", 0.01)
    if is_lost:
        server.says(b"HTTP/1.1 500 Oh\r\n\r\n")
    async with key_set(server, Clock()):
        async with asyncio.timeout(10):
            while server.asked < 3:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "wrong",
    [
        jwk(0, use="enc"),
        jwk(0, alg="HS256"),
        jwk(0, alg="ES384"),
        jwk(0, alg=5),
        jwk(0, crv="P-384"),
        jwk(0, x="AAAA"),
        {"kty": "oct", "kid": "key0", "k": "c2VjcmV0" * 10, "alg": "HS256"},
        {"kty": "RSA", "kid": "key0", "n": "AQAB", "e": "AQAB"},
        {"kty": "RSA", "kid": "key0"},
        {"kty": "RSA", "kid": "key0", "n": "AQAB", "e": "AQAB", "alg": "none"},  # PyJWT raises NotImplementedError
        {"kid": "key0"},
    ],
)
async def test_a_key_that_checks_nothing_safely_is_left_out(server: KeyServer, wrong: dict[str, Any]) -> None:
    """A secret is none here, and neither is a key for another use or of another size; those beside it are taken."""
    server.keys = [wrong, jwk(1)]
    async with key_set(server, Clock()) as keys:
        assert keys.find("key0") is None
        assert keys.find("key1") is not None


async def test_a_set_has_so_many_keys(server: KeyServer) -> None:
    """More are no set."""
    server.keys = [jwk(0, kid=str(number)) for number in range(MAX_KEYS + 1)]
    async with key_set(server, Clock()) as keys:
        assert keys.find("1") is None


async def test_a_set_of_one_key_needs_no_name(server: KeyServer) -> None:
    """And of two, nobody guesses."""
    async with authority(server) as knows:
        assert (await granted(knows, signed(0, kid=None))).subject == "ada"
    server.keys = [jwk(0), jwk(1)]
    async with authority(server) as knows:
        with refused(reasons.UNAUTHORIZED, "a key that is not known"):
            await granted(knows, signed(0, kid=None))


@pytest.mark.parametrize(
    "token",
    [
        lambda: signed(1, kid="key0"),
        lambda: jwt.encode(claims(), "", "none", headers={"kid": "key0"}),
        lambda: "e30.e30.",
        lambda: jwt.api_jws.encode(b"{}", b"0" * 64, "HS256", headers={"kid": "key0"}),
        lambda: jwt.encode(claims(), private_key(0), "ES256", headers={"kid": "key0", "jku": "http://127.0.0.1:9/"}),
    ],
)
async def test_the_token_says_nothing_of_how_it_is_checked(server: KeyServer, token: Callable[[], str]) -> None:
    """But which key of the set it is for."""
    async with authority(server) as knows:
        await granted(knows, signed(0))
        text = token()
        if "jku" in jwt.get_unverified_header(text):
            assert (await granted(knows, text)).subject == "ada"
            assert server.asked == 1
        else:
            with refused(reasons.UNAUTHORIZED):
                await granted(knows, text)


async def test_the_times_of_the_fetches_fit_together() -> None:
    """A set is fetched many times before its keys are given up."""
    assert PAUSE_SECONDS < AHEAD_SECONDS < KEPT_SECONDS / 10


@pytest.mark.parametrize(("name", "is_right"), [("127.0.0.1", True), ("keys.example.com", False)])
async def test_keys_are_taken_from_whoever_has_a_certificate_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    is_right: bool,
) -> None:
    """Of an authority that is trusted, and for the host of the URL."""
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(tls)
    async with key_server(tls) as server:
        async with key_set(server, Clock()) as keys:
            assert keys.find("key0") is None
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        async with key_set(server, Clock()) as keys:
            assert (keys.find("key0") is not None) == is_right
        assert "certificate verify failed" in caplog.text
