"""Make tokens."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from time import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mux.errors import InvalidSetting
from mux.grants.authority import MAX_TOKEN_CHARACTERS
from mux.grants.keys import is_path, public_key, read_file, read_key
from mux.settings.values import check_pattern

_DURATION = re.compile(r"(\d{1,9})([smhd])", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

LONGEST_SECONDS = 10**9 * 86400
"""Longest time for which a token is made: the longest duration that can be written."""


def mint(
    key: str,
    *,
    subject: str | None,
    subscribe: Sequence[str],
    publish: Sequence[str],
    seconds: float,
    audience: str | None = None,
    issuer: str | None = None,
    allows_weak: bool = False,
    clock: Callable[[], float] = time,
) -> str:
    """Return a token.

    Args:
        key: the secret that the server has, or the path of the private half of its key in PEM.
        subject: the identity; None gives none.
        subscribe: patterns of the channels that it may subscribe to.
        publish: patterns of the channels that it may publish to.
        seconds: how long it holds.
        audience: the server's token_audience.
        issuer: the server's token_issuer.
        allows_weak: the secret may be of any length.
        clock: returns the Unix time in seconds.

    Raises:
        InvalidSetting: no token can be made with this key, or no server would take it.
    """
    if not isinstance(subject, str | None):
        raise InvalidSetting(f"the subject of a token is a str, not {type(subject).__name__}")
    for name, texts in (("subscribe", subscribe), ("publish", publish)):
        for text in texts:
            check_pattern(name, text)
    if not abs(seconds) <= LONGEST_SECONDS:  # nor is it, where it is no number
        raise InvalidSetting(f"a token holds for a number of seconds up to {LONGEST_SECONDS}, not for {seconds}")
    signs, algorithm = _signing_key(key, allows_weak=allows_weak)
    named = {"sub": subject, "aud": audience, "iss": issuer}
    claims: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    claims |= {"exp": int(clock() + seconds), "mux": {"subscribe": [*subscribe], "publish": [*publish]}}
    token = jwt.encode(claims, signs, algorithm)
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise InvalidSetting(f"the token has {len(token)} characters; at most {MAX_TOKEN_CHARACTERS} are taken")
    return token


def _signing_key(text: str, *, allows_weak: bool) -> tuple[Any, str]:
    if not is_path(text):
        key = read_key(text, allows_weak=allows_weak)
        return key.material, key.algorithms[0]
    try:
        private = load_pem_private_key(read_file(text), None)
    except (TypeError, ValueError):
        raise InvalidSetting(
            "a token is made with the private half of the key, in PEM and without a password"
        ) from None
    return private, public_key(private.public_key()).algorithms[0]


def seconds_of(duration: str) -> int:
    """Return the seconds of a duration, as 90s, 15m, 1h or 30d.

    Raises:
        InvalidSetting: it is none.
    """
    found = _DURATION.fullmatch(duration)
    if found is None:
        raise InvalidSetting("--expires is a number with s, m, h or d, as 1h")
    return int(found[1]) * _UNITS[found[2]]
