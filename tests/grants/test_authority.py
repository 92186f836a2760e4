"""What a token grants, and what it costs to find out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jwt
import pytest

from mux import reasons
from mux.errors import InvalidSetting
from mux.grants.authority import CHECKS_PER_SECOND, MAX_KNOWN, Authority
from mux.grants.grants import OPEN, Action, Grants
from mux.settings import Settings
from tests.support.refusals import refused
from tests.support.tokens import SECRET, claims, key_file, secret_token, token, wrong_tokens


def authority(clock: Any = None, **settings: Any) -> Authority:
    """Return what knows what is granted with these settings."""
    every = Settings(**{"token_key": SECRET, "token_audience": "tests", **settings})
    return Authority(every) if clock is None else Authority(every, clock)


def granted(of: Authority, text: str | None, address: str = "") -> Grants:
    """Return what a token grants."""
    found = of.grants(text, address)
    assert isinstance(found, Grants)
    return found


def test_without_a_key_everything_is_open() -> None:
    """Whatever token there is."""
    everybody = Authority(Settings())
    assert everybody.is_open
    assert everybody.grants(None, "") is everybody.grants("garbage", "") is OPEN


def test_grants_add_up() -> None:
    """What everybody may do, what whoever has a token may do, and what the token says."""
    knows = authority(anyone_subscribe=("news",), user_subscribe=("user.{sub}",), anyone_publish=("box",))
    anyone, ada = granted(knows, None), granted(knows, secret_token("ada", subscribe=("x.*",), publish=("{sub}",)))
    assert [anyone.allows(Action.SUBSCRIBE, name) for name in ("news", "user.", "user.ada", "x.1")] == [
        True,
        False,
        False,
        False,
    ]
    assert [ada.allows(Action.SUBSCRIBE, name) for name in ("news", "user.ada", "x.1", "user.eve")] == [
        True,
        True,
        True,
        False,
    ]
    assert [ada.allows(Action.PUBLISH, name) for name in ("box", "ada", "news")] == [True, True, False]
    assert (anyone.subject, ada.subject) == (None, "ada")


@pytest.mark.parametrize("kind", wrong_tokens("x"))
def test_a_wrong_token_grants_nothing(tmp_path: Path, kind: str) -> None:
    """Each would be right but for one thing."""
    knows = authority(token_key=key_file(tmp_path))
    granted(knows, token(subscribe=("x",)))
    with refused(reasons.UNAUTHORIZED, "the token"):
        knows.grants(wrong_tokens("x")[kind], "")


@pytest.mark.parametrize(
    "wrong",
    [
        {"mux": []},
        {"mux": {"subscribe": "x"}},
        {"mux": {"publish": [1]}},
        {"sub": 42},
        {"exp": "never"},
        {"exp": 1e400},
        {"aud": None},
    ],
)
def test_claims_of_other_types_are_not_valid(wrong: dict[str, Any]) -> None:
    """They are no mistake of the server."""
    text = jwt.encode(claims() | wrong, SECRET, "HS256") if wrong != {"exp": 1e400} else _by_hand('{"exp":1e400}')
    with refused(reasons.UNAUTHORIZED):
        authority().grants(text, "")


def _by_hand(payload: str) -> str:
    return jwt.api_jws.encode(payload.encode(), SECRET, "HS256")


def test_deep_garbage_is_not_valid() -> None:
    """A parser may give up in many ways."""
    with refused(reasons.UNAUTHORIZED):
        authority().grants(_by_hand("[" * 3000), "")
    for text in ("é" * 10, "\ud800", ".", "..", "a.b.c", "\0"):
        with refused(reasons.UNAUTHORIZED):
            authority().grants(text, "")


def test_a_known_token_is_not_checked_again_and_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs a lookup, and holds until its end."""
    now = [float(claims()["exp"] - 3600)]
    knows = authority(lambda: now[0])
    text = secret_token(exp=int(now[0]) + 60)
    first = granted(knows, text)
    monkeypatch.setattr(jwt, "decode", None)
    assert granted(knows, text) is first
    now[0] += 89
    assert granted(knows, text) is first
    now[0] += 2
    with refused(reasons.UNAUTHORIZED, "has expired"):
        knows.grants(text, "")


def test_only_so_many_signatures_of_an_address_are_checked_in_a_second() -> None:
    """Beyond that nothing is checked, known tokens pass, and so do other addresses; then there are as many again."""
    now = [1000.0]
    knows = authority(lambda: now[0])
    good = secret_token()
    granted(knows, good, "a")
    for number in range(CHECKS_PER_SECOND - 1):
        with refused(reasons.UNAUTHORIZED):
            knows.grants(f"garbage{number}", "a")
    with refused(reasons.CHECKS):
        knows.grants("garbage", "a")
    granted(knows, good, "a")
    with refused(reasons.UNAUTHORIZED):
        knows.grants("garbage", "b")
    now[0] += 1
    with refused(reasons.UNAUTHORIZED):
        knows.grants("garbage", "a")


def test_what_is_known_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is forgotten."""
    knows = authority(lambda: 1000.0)
    monkeypatch.setattr(knows, "_check", lambda text: OPEN)
    for number in range(MAX_KNOWN + 10):
        knows.grants(str(number), str(number))
    assert len(knows._known) == MAX_KNOWN


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("too little", "at least 32"),
        ("", "at least 32"),
        ("/nowhere/key.pem", "cannot be read"),
        (__file__, "no public key"),
    ],
)
def test_a_key_that_is_not_safe_is_refused(key: str, sentence: str) -> None:
    """With a sentence that has no secret in it."""
    with pytest.raises(InvalidSetting, match=sentence) as caught:
        authority(token_key=key)
    assert not key or key not in str(caught.value)


def test_a_short_secret_is_taken_where_that_is_asked_for() -> None:
    """For trying things out."""
    authority(token_key="short", allow_weak_token_key=True)


def test_grants_without_a_key_are_a_mistake() -> None:
    """Who sets them believes that everything else is closed."""
    with pytest.raises(InvalidSetting, match="needs a token_key"):
        Settings(anyone_subscribe=("news",))
