"""What a token grants, and what it costs to find out."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mux import reasons
from mux.errors import InvalidSetting
from mux.grants.authority import MAX_ADDRESSES, MAX_KNOWN, Authority
from mux.grants.grants import OPEN, Action, Grants
from mux.settings.settings import Settings
from tests.support.refusals import refused
from tests.support.tokens import SECRET, claims, key_file, public_pem, secret_token, token, wrong_tokens


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


def test_an_empty_subject_is_none() -> None:
    """It would stand for the beginning of every name."""
    nobody = granted(authority(user_subscribe=("user.{sub}*",)), secret_token(""))
    assert nobody.subject is None
    assert not nobody.allows(Action.SUBSCRIBE, "user.1")


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


def test_a_subject_that_is_no_unicode_is_not_valid() -> None:
    """Half of a pair cannot be written as UTF-8: with it in a channel, nobody was told who is there."""
    with refused(reasons.UNAUTHORIZED, "not valid"):
        authority().grants(_by_hand('{"sub": "\\ud800", "aud": "tests"}'), "")


@pytest.mark.parametrize("more", ["=", "==", "!", "\u00e9", ".", ".x", " "])
def test_a_good_token_is_good_as_one_text_alone(more: str) -> None:
    """Its signature with something that a decoder leaves out was good, and one token filled all that is known."""
    knows = authority()
    granted(knows, secret_token())
    with refused(reasons.UNAUTHORIZED, "not valid"):
        knows.grants(secret_token() + more, "")
    assert len(knows._known) == 1


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
    """Those that are not good: beyond that nothing is checked, known tokens pass, and so do other addresses."""
    now = [1000.0]
    knows = authority(lambda: now[0])
    good = secret_token()
    for number in range(60):  # as many users as there are behind a proxy
        granted(knows, secret_token(f"user{number}"), "a")
    granted(knows, good, "a")
    for number in range(50):
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


def test_addresses_of_a_second_are_bounded() -> None:
    """One more is told to wait, and one that is known is not; those whose tokens are good are none of them."""
    knows = authority(lambda: 1000.0)
    for number in range(MAX_ADDRESSES):
        with refused(reasons.UNAUTHORIZED):
            knows.grants("garbage", str(number))
    with refused(reasons.CHECKS):
        knows.grants(secret_token(), "another")
    granted(knows, secret_token(), "1")


def test_what_is_known_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is forgotten."""
    knows = authority(lambda: 1000.0)
    monkeypatch.setattr(knows, "_check", lambda text, key: OPEN)
    for number in range(MAX_KNOWN + 10):
        knows.grants(f"a.b.{number}", str(number))
    assert len(knows._known) == MAX_KNOWN


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("too little", "at least 32"),
        ("", "at least 32"),
        ("/nowhere/key.pem", "cannot be read: no such file"),
        ("/a/path/that/is/long/enough/for/a/secret", "cannot be read: no such file"),
        ("~nobody-of-this-name/key", "cannot be read"),
        (public_pem().decode(), "not what is in that file"),
        (__file__, "no public key"),
    ],
)
def test_a_key_that_is_not_safe_is_refused(key: str, sentence: str) -> None:
    """With a sentence that has no secret in it."""
    with pytest.raises(InvalidSetting, match=sentence) as caught:
        authority(token_key=key)
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize("algorithm", ["HS256", "HS512"])
def test_a_short_secret_is_taken_where_that_is_asked_for(algorithm: str) -> None:
    """For trying things out; nothing is said of its length with every token."""
    knows = authority(token_key="short", allow_weak_token_key=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = jwt.encode(claims(), "short", algorithm)
    assert granted(knows, text).subject == "ada"


def test_a_token_for_an_audience_is_refused_where_none_is_named() -> None:
    """RFC 7519, section 4.1.3: it is meant for somebody else."""
    with refused(reasons.UNAUTHORIZED, "another audience"):
        authority(token_audience=None).grants(secret_token(), "")


def test_a_token_of_another_issuer_is_refused() -> None:
    """Where one is named."""
    granted(authority(token_issuer="us"), secret_token(iss="us"))
    for text in (secret_token(iss="them"), secret_token()):
        with refused(reasons.UNAUTHORIZED):
            authority(token_issuer="us").grants(text, "")


@pytest.mark.parametrize("kind", ["RSA", "Ed25519", "P-384"])
def test_every_kind_of_public_key_checks_its_own_algorithm(tmp_path: Path, kind: str) -> None:
    """And no other."""
    private: Any = ed25519.Ed25519PrivateKey.generate()
    if kind != "Ed25519":
        private = ec.generate_private_key(ec.SECP384R1()) if kind == "P-384" else rsa.generate_private_key(65537, 2048)
    path = tmp_path / "key"
    path.write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    knows = authority(token_key=str(path))
    right = {"RSA": "RS256", "Ed25519": "EdDSA", "P-384": "ES384"}[kind]
    granted(knows, jwt.encode(claims(), private, right))
    with refused(reasons.UNAUTHORIZED):
        knows.grants(token(), "")


def test_a_short_key_of_rsa_is_refused(tmp_path: Path) -> None:
    """It can be broken."""
    path = tmp_path / "key.pem"
    private = rsa.generate_private_key(65537, 1024)  # noqa: S505 - it is refused
    path.write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(InvalidSetting, match="2048"):
        authority(token_key=str(path))


def test_neither_keys_nor_tokens_are_in_a_repr() -> None:
    """Of anything that somebody may log."""
    knows = authority()
    text = secret_token()
    shown = repr([knows, vars(knows), granted(knows, text), Settings(token_key=SECRET)])
    assert SECRET not in shown
    assert text not in shown


def test_grants_without_a_key_are_a_mistake() -> None:
    """Who sets them believes that everything else is closed."""
    with pytest.raises(InvalidSetting, match="needs a token_key"):
        Settings(anyone_subscribe=("news",))
