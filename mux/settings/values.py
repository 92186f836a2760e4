"""The checks of single values: their types, their ranges, and what addresses, secrets and patterns look like.

No sentence repeats a value that may have a password or a key in it.
"""

from __future__ import annotations

import re
from dataclasses import Field, dataclass
from math import isfinite
from typing import Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

from mux.errors import InvalidChannel, InvalidSetting
from mux.wire.channel import check_channel

GatherMs = float | Literal["auto"]

_HOST_TO_LISTEN_ON = re.compile(r"[\w.-]*|[0-9A-Fa-f:]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?")
"""A name, an IPv4 address, or an IPv6 address with or without a zone."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """The purpose of a setting, its unit, and the range it is held to."""

    text: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None


def shown(value: object) -> str:
    """Return a value for a sentence, unless it is an address, which may have a password in it."""
    text = repr(value)
    return "an address" if "@" in text or "://" in text or "password" in text.lower() else text


def check_type(spec: Field[Any], value: object, kind: object) -> None:
    """Hold the value of a field to its type.

    Raises:
        InvalidSetting: the value has another type.
    """
    if kind is float or kind == GatherMs:
        is_right = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
        expected = "a number"
        if kind == GatherMs:
            is_right, expected = is_right or value == "auto", "a number or auto"
    elif kind is int or kind == int | None:
        is_right = (isinstance(value, int) and not isinstance(value, bool)) or (value is None and kind is not int)
        expected = "a whole number"
    elif kind is bool:
        is_right, expected = isinstance(value, bool), "True or False"
    elif kind == tuple[str, ...]:
        is_right = isinstance(value, tuple) and all(isinstance(item, str) for item in value)
        expected = "a list of str"
    elif choices := get_args(kind) if get_origin(kind) is Literal else ():
        is_right, expected = value in choices, f"one of {', '.join(choices)}"
    else:
        is_right, expected = isinstance(value, str) or (value is None and kind == str | None), "a str"
    if not is_right:
        # A secret has no repr; it is left out of the sentence even when its type is wrong.
        text = shown(value) if spec.repr else f"a {type(value).__name__}"
        raise InvalidSetting(f"{spec.name} is {text}; it must be {expected}")


def check_range(spec: Field[Any], value: Any) -> None:
    """Hold the value of a field to its range.

    Raises:
        InvalidSetting: the value is out of the range.
    """
    meaning: Meaning = spec.metadata["meaning"]
    if value is None or value == "auto":
        return
    if meaning.minimum is not None and value < meaning.minimum:
        raise InvalidSetting(f"{spec.name} is {value}; it must be at least {meaning.minimum}")
    if meaning.maximum is not None and value > meaning.maximum:
        raise InvalidSetting(f"{spec.name} is {value}; it must be at most {meaning.maximum}")


def check_host(name: str, host: str) -> None:
    """Hold the value of a setting to what can be listened on: a name or an address.

    Raises:
        InvalidSetting: it is none.
    """
    # The value is kept out of the sentence: a URL in the wrong option may have a password in it.
    if not _HOST_TO_LISTEN_ON.fullmatch(host):
        raise InvalidSetting(f"{name} must be a name or an address, without a scheme, a user or a port")


def check_secret(name: str, secret: str, min_length: int) -> None:
    """Hold a token or a key to what is long enough and can stand in a header field.

    Raises:
        InvalidSetting: it is too short, or has other characters; the sentence does not repeat it.
    """
    if not (len(secret) >= min_length and all("!" <= char <= "~" for char in secret)):
        raise InvalidSetting(f"{name} must be at least {min_length} printable ASCII characters without space")


def check_pattern(name: str, text: str) -> None:
    """Let a pattern of channels pass, which is given by a name.

    Raises:
        InvalidSetting: it is none.
    """
    stem = text.removesuffix("*")
    if "*" in stem:
        raise InvalidSetting(f"{name} has the pattern {text!r}; a pattern has * at its end and nowhere else")
    try:
        if stem or not text:
            check_channel(stem)
    except InvalidChannel as error:
        raise InvalidSetting(f"{name} has the pattern {text!r}: {error}") from None


def check_jwks_url(url: str) -> None:
    """Hold the URL of a JWK set to what keys can be fetched from.

    Raises:
        InvalidSetting: it is no such URL.
    """
    # The value is kept out of the sentence: it may have a password in it.
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        is_right = is_right and "@" not in parts.netloc and all("!" <= char <= "~" for char in url)
    except ValueError:
        is_right = False
    if not is_right:
        raise InvalidSetting("token_jwks_url must be an http:// or https:// URL without a user or a password")
