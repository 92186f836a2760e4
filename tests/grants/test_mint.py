"""Tokens that are made here are taken here, and are told of."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mux.errors import InvalidSetting, InvalidToken
from mux.grants.authority import Authority
from mux.grants.grants import Action, Grants
from mux.grants.mint import mint, seconds_of
from mux.grants.telling import told
from mux.settings.settings import Settings
from tests.support.key_server import key_server
from tests.support.servers import run_mux
from tests.support.tokens import AUDIENCE, SECRET, key_file, private_key, token


def private_file(folder: Path) -> str:
    """Write private_key(0) into a folder; return its path."""
    path = folder / "private.pem"
    path.write_bytes(private_key(0).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(path)


@pytest.mark.parametrize("kind", ["secret", "PEM"])
def test_a_token_that_is_made_is_taken(tmp_path: Path, kind: str) -> None:
    """By a server with the same secret, or with the other half of the key."""
    signs, checks = (SECRET, SECRET) if kind == "secret" else (private_file(tmp_path), key_file(tmp_path))
    text = mint(signs, subject="42", subscribe=["orders.*"], publish=["chat"], seconds=60, audience="a", issuer="i")
    grants = Authority(Settings(token_key=checks, token_audience="a", token_issuer="i")).grants(text, "")
    assert isinstance(grants, Grants)
    assert grants.subject == "42"
    assert grants.allows(Action.SUBSCRIBE, "orders.1")
    assert not grants.allows(Action.PUBLISH, "orders.1")
    assert 80 < grants.until - time.time() <= 91


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("1h", 3600), ("30d", 2592000), ("0s", 0)])
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    """As people write it."""
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "1", "1 h", "-1h", "1w", "1.5h"])
def test_anything_else_is_no_duration(text: str) -> None:
    """The sentence says what is."""
    with pytest.raises(InvalidSetting, match="as 1h"):
        seconds_of(text)


def test_it_is_told_what_a_token_grants() -> None:
    """With what everybody is granted, and whether the server takes it."""
    settings = Settings(token_key=SECRET, anyone_subscribe=("news",))
    text = mint(SECRET, subject="42", subscribe=["orders.*"], publish=[], seconds=60)
    lines = list(told(settings, text))
    assert lines[:3] == ["subject    42", "subscribe  news orders.*", "publish    -"]
    assert lines[4] == "signature  right"
    over = mint(SECRET, subject="42", subscribe=["orders.*"], publish=[], seconds=-60)
    with pytest.raises(InvalidToken, match="the token has expired"):
        list(told(settings, over))
    with pytest.raises(InvalidToken, match="this is no token"):
        list(told(settings, "garbage"))


@pytest.mark.parametrize(("subject", "subscribe"), [("42", "user.42"), ("a*", "user.a%2A"), ("", "-")])
def test_patterns_are_told_with_the_subject_in_them(subject: str, subscribe: str) -> None:
    """It was told as {sub}; a star of a subject is no pattern, and without a subject nothing is granted by it."""
    text = mint(SECRET, subject=subject, subscribe=[], publish=["{sub}.*"], seconds=60)
    lines = list(told(Settings(token_key=SECRET, user_subscribe=("user.{sub}",)), text))
    assert lines[:3] == [
        f"subject    {subject or '-'}",
        f"subscribe  {subscribe}",
        f"publish    {f'{subject}.*' if subject else '-'}",
    ]


@pytest.mark.parametrize("pattern", ["a.*.b", "**", "a b", "", "$x", "x" * 256])
@pytest.mark.parametrize("to", ["subscribe", "publish"])
def test_no_token_is_made_with_a_pattern_that_is_none(to: str, pattern: str) -> None:
    """It would grant one channel with a star in its name, or nothing, and nobody would know why."""
    lists = {"subscribe": ["orders.*"], "publish": ["*"], to: [pattern]}
    with pytest.raises(InvalidSetting, match=f"{to} has the pattern"):
        mint(SECRET, subject=None, seconds=60, subscribe=lists["subscribe"], publish=lists["publish"])


def test_no_token_is_made_that_no_server_takes() -> None:
    """A subject is a str, and a token is not as long as one likes."""
    with pytest.raises(InvalidSetting, match="a str, not int"):
        mint(SECRET, subject=42, subscribe=[], publish=[], seconds=60)  # type: ignore[arg-type]  # a likely mistake
    with pytest.raises(InvalidSetting, match="at most 8192 are taken"):
        mint(SECRET, subject="42", subscribe=["x" * 250] * 40, publish=[], seconds=60)
    for seconds in (float("inf"), float("-inf"), float("nan"), 1e300, 10**400):
        with pytest.raises(InvalidSetting, match="a number of seconds"):
            mint(SECRET, subject="42", subscribe=[], publish=[], seconds=seconds)


async def test_a_token_is_checked_with_the_keys_at_a_url() -> None:
    """As a server with these settings does it."""
    async with key_server() as server:
        settings = Settings(token_jwks_url=server.url, token_audience=AUDIENCE)
        assert (await asyncio.to_thread(list, told(settings, token())))[-1] == "signature  right"
        with pytest.raises(InvalidToken, match="a key that is not known"):
            await asyncio.to_thread(list, told(settings, token(kid="unknown")))
    with pytest.raises(InvalidToken, match="cannot be had"):
        await asyncio.to_thread(list, told(settings, token()))


def test_the_command_makes_a_token_and_checks_it() -> None:
    """A key of the environment, and a token of standard input or of the environment."""
    env = {"MUX_TOKEN_KEY": SECRET}
    made = run_mux("token", "--sub", "a\x1b[2J", "--subscribe", "orders.*", "--expires", "1h", env=env)
    assert made.returncode == 0, made.stderr
    for given in ({"stdin": made.stdout}, {"env": env | {"MUX_TOKEN": made.stdout.strip()}}):
        done = run_mux("token", "--check", **{"env": env, **given})  # type: ignore[arg-type]  # one of each type
        assert done.returncode == 0, done.stderr
        assert "subscribe  orders.*\n" in done.stdout
        assert "\x1b" not in done.stdout
    assert run_mux("token", "--sub", "42").returncode == 2
    other = run_mux("token", "--check", stdin=made.stdout, env={"MUX_TOKEN_KEY": SECRET[::-1]})
    assert (other.returncode, other.stderr) == (1, "mux: the token is not valid\n")
