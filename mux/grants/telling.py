"""Say what a token grants, for `mux token --check`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import jwt

from mux.errors import InvalidToken, Refused
from mux.grants.authority import Authority
from mux.grants.grants import Grants
from mux.grants.patterns import Patterns
from mux.settings.settings import Settings


def told(settings: Settings, token: str) -> Iterator[str]:
    """Yield lines that say what a token grants, until when, and whether a server with these settings takes it.

    Raises:
        InvalidToken: it is no token, or the server does not take it.
    """
    try:
        claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    except Exception:  # noqa: BLE001 - whatever a parser says of garbage
        raise InvalidToken("this is no token") from None
    own = claims.get("mux")
    own = own if isinstance(own, dict) else {}
    subject = claims.get("sub")
    subject = subject if isinstance(subject, str) else None
    yield f"subject    {subject or '-'}"
    for name, everybody in (
        ("subscribe", settings.anyone_subscribe + settings.user_subscribe),
        ("publish", settings.anyone_publish + settings.user_publish),
    ):
        yield f"{name:<9}  {Patterns.compile([*everybody, *_texts(own.get(name))], subject)}"
    yield f"until      {_moment(claims.get('exp'))}"
    if settings.token_key is None and settings.token_jwks_url is None:
        yield "signature  not checked: there is no --token-key"
        return
    try:
        asyncio.run(_check(Authority(settings), token))
    except Refused as error:
        raise InvalidToken(str(error)) from None
    yield "signature  right"


async def _check(authority: Authority, token: str) -> None:
    """Check a token, with the keys at a URL if they are there.

    Raises:
        Refused: it is not valid, or the keys cannot be had.
    """
    try:
        found = authority.grants(token, "")
        if not isinstance(found, Grants):
            await found()
    finally:
        await authority.aclose()


def _texts(own: object) -> list[str]:
    return list(map(str, own)) if isinstance(own, list) else []


def _moment(seconds: object) -> str:
    if seconds is None:
        return "for ever"
    try:
        return datetime.fromtimestamp(float(str(seconds))).astimezone().isoformat(" ")
    except (ValueError, OverflowError, OSError):
        return "-"
