"""No way of getting a Redis URL wrong puts its password anywhere."""

from __future__ import annotations

import asyncio
import logging
import string
import traceback
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sanic import Sanic

from mux import Mux
from mux.broker.location import check_redis, parse_location
from mux.errors import BrokerError, BrokerRefused, MuxError
from mux.settings.settings import Settings
from tests.broker.test_broker import open_once, scripted_redis
from tests.support.servers import run_mux

MARK = "Zx9"
"""Begins and ends every password, so that also a part of one is recognised."""

PASSWORDS = [f"{MARK}{char}{MARK}" for char in string.printable] + [f"{MARK}12345/67{MARK}", f"{MARK}%zz{MARK}"]

MISTYPINGS = [
    # Right, but for a password that is not percent-encoded, or that nothing is wrong with.
    "{scheme}://user:{password}@{host}",
    "{scheme}://:{password}@{host}/0",
    "{scheme}://{password}@{host}",
    "{scheme}://{host}?password={password}",
    "{scheme}://{host}?username=u&pasword={password}",
    "{scheme}://{host}?{password}",
    "{scheme}://{host}?db={password}",
    "{scheme}://{host}?socket_connect_timeout={password}",
    "{scheme}://{host}?ssl_cert_reqs={password}&ssl_ca_certs={password}",
    "{scheme}://{host}?sentinel_password={password}&sentinel_ssl={password}",
    # Quotes of an env file.
    '"{scheme}://user:{password}@{host}"',
    "'{scheme}://user:{password}@{host}'",
    "{scheme}://user:{password}@{host}'",
    # Parts that are missing.
    "user:{password}@{host}",
    ":{password}@{host}",
    "//user:{password}@{host}",
    "{scheme}:/user:{password}@{host}",
    "{scheme}:user:{password}@{host}",
    "{scheme}://user:{password}",
    "{scheme}://:{password}",
    "{scheme}://user:{password}@",
    "{scheme}://user:{password}@:6379",
    "{scheme}://{host}:{password}",
    "{scheme}://{host}:6379:{password}",
    # Of other programs.
    "{host},password={password}",
    "{host},user=u,password={password},ssl=True",
    "{scheme}://{host},password={password}",
    "{scheme}://{host},password=x@{password}",
    "{scheme}://{host} password={password}",
    "{scheme}://{host}/0,password={password}",
    "{scheme}://{host}/main/{password}@x",
    "password={password} host={host}",
    "http://user:{password}@{host}",
    "valkey://user:{password}@{host}",
    "tls+{scheme}://user:{password}@{host}",
    "{password}",
]

SCHEMES = ["redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"]
HOSTS = ["127.0.0.1:1", "localhost", "a:1,b:2/main", "[::1", "/run/redis.sock", ""]


def is_told(password: str, text: str) -> bool:
    """Return whether text has any part of a password that MARK is in, as it is or decoded."""
    return MARK in text or password in text


def everything_of(error: BaseException | None) -> str:
    """Return what anybody may print of an error, of its cause and of its context, though that is suppressed."""
    if error is None:
        return ""
    own = "".join(traceback.format_exception(error))
    return f"{own} {error!r} {error.args!r} {everything_of(error.__cause__)} {everything_of(error.__context__)}"


@settings(deadline=None)
@given(
    st.sampled_from(MISTYPINGS),
    st.sampled_from(SCHEMES),
    st.sampled_from(HOSTS),
    st.sampled_from(PASSWORDS) | st.text().map(lambda text: f"{MARK}{text}{MARK}"),
    st.sampled_from([str, quote]),
)
@example(MISTYPINGS[0], "redis", HOSTS[0], f"{MARK}/{MARK}", str)
@example("{scheme}://user:12/{password}@{host}", "redis", HOSTS[0], "34Zx9", str)
@example("{scheme}://user:12?{password}@{host}", "redis+sentinel", HOSTS[0], "34Zx9", str)
def test_no_mistyping_tells_the_password(mistyping: str, scheme: str, host: str, password: str, encode: object) -> None:
    """Whether the URL is read or refused: not in the error, what it came from, the location or its repr."""
    assert callable(encode)
    url = mistyping.format(scheme=scheme, host=host, password=encode(password))
    refused: MuxError | None = None
    said = ""
    try:
        said = repr(Settings.load({"redis_url": url}, {}))
        location = parse_location(url)
        said += f"{location} {location!r}"
    except MuxError as error:
        refused = error
    if refused is not None:
        assert refused.__cause__ is None
        assert refused.__context__ is None
        said += everything_of(refused)
    assert not is_told(password, said)


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Return what is logged at any level."""
    caplog.set_level(logging.DEBUG)
    yield caplog
    caplog.clear()


@pytest.mark.parametrize("mistyping", MISTYPINGS)
async def test_no_mistyping_tells_the_password_where_it_is_used(
    mistyping: str, records: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mux by argument, by environment and by settings, and the probe of `mux serve`."""
    for place, char in enumerate('/?#@"%'):
        password = f"{MARK}{char}{MARK}"
        url = mistyping.format(scheme=SCHEMES[place % 7], host="127.0.0.1:1", password=password)
        monkeypatch.setenv("MUX_REDIS_URL", url)
        for options in ({"redis_url": url}, {}, {"settings": Settings(redis_url=url)}, {"redis_url": url.encode()}):
            app: Sanic[Any, Any] = Sanic(f"secrets{place}", configure_logging=False)
            with pytest.raises((MuxError, TimeoutError)) as failed:
                mux = Mux(app, **cast("Any", options))
                assert not is_told(password, f"{mux.settings!r} {mux._core.broker!r}")
                async with asyncio.timeout(0.5):
                    await check_redis(parse_location(url), b"feed:*", b"feed:$probe")
            Sanic.unregister_app(app)
            assert not is_told(password, everything_of(failed.value))
    assert not is_told(MARK, records.text)


@pytest.mark.parametrize(
    ("arguments", "env"),
    [
        (["serve", "--redis-url", f"redis://user:{MARK}/{MARK}@h"], {}),
        (["serve", f"redis://user:{MARK}@h"], {}),
        ([f"redis://user:{MARK}@h"], {}),
        (["serve", "--port", f"redis://user:{MARK}@h"], {}),
        (["serve", f"--redis_url=redis://user:{MARK}@h"], {}),
        (["serve", f"--redis-url:redis://user:{MARK}=b@h"], {}),
        (["serve"], {"MUX_REDIS_URL": f"h:6379,password={MARK}"}),
        (["serve"], {"MUX_PORT": f"redis://user:{MARK}@h"}),
        (["serve", "--workers", "2"], {"MUX_REDIS_URL": f'"redis://user:{MARK}@h"'}),
    ],
)
def test_no_mistyping_of_the_command_tells_the_password(arguments: list[str], env: dict[str, str]) -> None:
    """One sentence on standard error, also when the URL stands where it does not belong."""
    ended = run_mux(*arguments, env=env)
    assert ended.returncode == 2
    assert ended.stderr.startswith("mux: ")
    assert ended.stderr.count("\n") == 1
    assert MARK not in ended.stderr + ended.stdout


@pytest.mark.parametrize(
    "answer",
    [
        "-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `user`, `{password}`, `SETNAME`, ",
        "-ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'user' '{password}' ",
        "-ERR wrong number of arguments: HELLO 3 AUTH user {password}",
        "-{password} is what I was told",
        "-WRONGPASS {password} is wrong",
        "-NOPERM user may not AUTH {password}",
        "-LOADING and {password}",
        "${password_length}\r\n{password}",
        "*2\r\n$4\r\nAUTH\r\n${password_length}\r\n{password}",
    ],
)
async def test_answer_that_quotes_our_password_is_not_repeated(answer: str) -> None:
    """A server that does not know HELLO quotes the whole command, and that was once taken for wrong credentials."""
    password = f"{MARK} !'{MARK}"
    text = answer.format(password=password, password_length=len(password))
    async with scripted_redis(hello=f"{text}\r\n".encode()) as url:
        with pytest.raises(BrokerError) as refused:
            await open_once(f"redis://user:{quote(password)}@{url.removeprefix('redis://')}")
    assert MARK not in everything_of(refused.value)
    if "unknown command" in text:
        assert isinstance(refused.value, BrokerRefused)
        assert "does not speak RESP3" in str(refused.value)
        assert "credentials" not in str(refused.value)
