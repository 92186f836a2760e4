"""Find out what a token grants, with the key of the server.

1. To check a token costs 0.05 ms with a secret and 0.1 ms with a key of P-256. So a token that was found good is known
   from then on, which costs a lookup, and only so many bad ones are checked for one address in a second. Good ones do
   not count: behind a proxy a thousand users may have one address, and come back together.
2. The algorithm is fixed by the kind of the key.
3. What is wrong with a token is told in a sentence; nothing of the token is in it, nor in the traceback of an error.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from hashlib import sha256
from math import inf
from time import monotonic, time
from typing import Any, TypeAlias

import jwt

from mux import reasons
from mux.errors import Refused
from mux.grants.grants import OPEN, Grants, check_subject
from mux.grants.jwks import KeySet
from mux.grants.keys import Key, read_key
from mux.grants.patterns import Patterns
from mux.settings.settings import Settings

LEEWAY_SECONDS = 30.0
"""The clocks of two machines may differ by this many seconds, so a token begins earlier and ends later by as much."""

MAX_TOKEN_CHARACTERS = 8192
"""Most characters of a token. A longer text is refused without a look at it."""

_FORM = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
"""A token has three parts in base64 without padding (RFC 7515, section 3.1). A decoder leaves out whatever else is in a
signature, so one good token would be any number of different texts, which are all checked, and all known."""

MAX_KNOWN = 10_000
"""Most valid tokens that are remembered. Beyond that the oldest are forgotten, and are checked again when they come."""

MAX_ADDRESSES = 10_000
"""Most addresses whose tokens are checked in one second. An unknown token from another address is refused."""

Found: TypeAlias = Grants | Callable[[], Awaitable[Grants]]
"""Grants, or a function to call and await for them."""

_NOT_VALID = "the token is not valid"

_SENTENCES: dict[type[Exception], str] = {
    jwt.ExpiredSignatureError: "the token has expired",
    jwt.ImmatureSignatureError: "the token is not valid yet",
    jwt.InvalidAudienceError: "the token is for another audience",
    jwt.InvalidIssuerError: "the token is of another issuer",
}

OUT_OF_TIME = frozenset((_SENTENCES[jwt.ExpiredSignatureError], _SENTENCES[jwt.ImmatureSignatureError]))
"""Sentences about tokens that were valid, or will be."""


class Authority:
    """Finds out what tokens grant.

    Args:
        settings: the key, what tokens must say, and what is granted without them.
        clock: returns the Unix time in seconds.

    Raises:
        InvalidSetting: the key is none that is safe.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time) -> None:
        key = settings.token_key
        self._key = None if key is None else read_key(key, allows_weak=settings.allow_weak_token_key)
        url = settings.token_jwks_url
        self._key_set = None if url is None else KeySet(url, on_removed=self._forget, clock=monotonic)
        self._audience = settings.token_audience
        self._issuer = settings.token_issuer
        self._subscribe = settings.anyone_subscribe + settings.user_subscribe
        self._publish = settings.anyone_publish + settings.user_publish
        self._has_anyone = bool(settings.anyone_subscribe or settings.anyone_publish)
        self._anyone = Grants(
            None, Patterns.compile(settings.anyone_subscribe), Patterns.compile(settings.anyone_publish)
        )
        self._clock = clock
        self._known: dict[bytes, Grants] = {}
        self._max_checks = settings.max_token_checks_per_second
        self._checks: dict[str, int] = {}
        self._second = 0

    @property
    def is_open(self) -> bool:
        """True when there is no key, and everybody may do everything."""
        return self._key is None and self._key_set is None

    @property
    def is_closed(self) -> bool:
        """True when nothing is granted without a token."""
        return not (self.is_open or self._has_anyone)

    def start(self) -> None:
        """Begin to fetch the keys, where they are at a URL."""
        if self._key_set is not None:
            self._key_set.start()

    async def aclose(self) -> None:
        """Fetch no keys any more."""
        if self._key_set is not None:
            await self._key_set.aclose()

    def grants(self, token: str | None, address: str) -> Found:
        """Return what a token grants, or what is granted without one.

        Args:
            token: as it was sent.
            address: where it is from, as addresses are counted.

        Raises:
            Refused: the token is not valid, or too many that are not came from this address.
        """
        if self.is_open:
            return OPEN
        if token is None:
            return self._anyone
        digest = sha256(token.encode("utf-8", "surrogatepass")).digest()
        grants = self._known.get(digest)
        if grants is None:
            self._spend(address)
            return self._unknown(token, digest, address)
        if grants.until <= self._clock():
            del self._known[digest]
            raise Refused(reasons.UNAUTHORIZED, _SENTENCES[jwt.ExpiredSignatureError])
        return grants

    def _unknown(self, token: str, digest: bytes, address: str) -> Found:
        """Return what a token grants that is not known yet; where its key is not known either, it may take a fetch.

        Raises:
            Refused: the token is not valid, or there is no such key.
        """
        if len(token) > MAX_TOKEN_CHARACTERS or not _FORM.fullmatch(token):
            raise Refused(reasons.UNAUTHORIZED, _NOT_VALID)
        if self._key_set is None:
            assert self._key is not None, "without a key no token is checked"
            return self._learn(token, digest, address, self._key)
        name = _name_of_key(token)
        key = self._key_set.find(name)
        if key is not None:
            return self._learn(token, digest, address, key)
        if not self._key_set.may_wait:
            raise self._key_set.refusal()
        return partial(self._fetch_and_learn, self._key_set, name, token, digest, address)

    async def _fetch_and_learn(self, keys: KeySet, name: str | None, token: str, digest: bytes, address: str) -> Grants:
        await keys.renew()
        key = keys.find(name)
        if key is None:
            raise keys.refusal()
        return self._learn(token, digest, address, key)

    def _learn(self, token: str, digest: bytes, address: str, key: Key) -> Grants:
        grants = self._check(token, key)
        self._give_back(address)
        if len(self._known) >= MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[digest] = grants
        return grants

    def _forget(self) -> None:
        """Check every token again when it comes: a key is gone."""
        self._known.clear()

    def _spend(self, address: str) -> None:
        """Count a check of an address, until its token is found good; those of this second are counted together.

        Raises:
            Refused: it has had all that are for this second.
        """
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._checks.clear()
        count = self._checks.get(address, 0)
        if count >= self._max_checks or (not count and len(self._checks) >= MAX_ADDRESSES):
            raise Refused(reasons.CHECKS)
        self._checks[address] = count + 1

    def _give_back(self, address: str) -> None:
        """Take back the count of a check whose token was good."""
        count = self._checks.pop(address, 0)
        if count > 1:
            self._checks[address] = count - 1

    def _check(self, token: str, key: Key) -> Grants:
        """Return what a token grants when its signature and its times are right.

        Raises:
            Refused: they are not.
        """
        try:
            claims = jwt.decode(
                token,
                key.material,
                algorithms=key.algorithms,
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
            )
            return self._granted(claims)
        except Exception as error:  # noqa: BLE001 - whatever a parser says of garbage
            sentence = _SENTENCES.get(type(error), _NOT_VALID)
        raise Refused(reasons.UNAUTHORIZED, sentence)

    def _granted(self, claims: dict[str, Any]) -> Grants:
        """Return what the claims of a token grant, beside what everybody is granted.

        Raises:
            ValueError: they are not of their types.
        """
        subject, own = claims.get("sub") or None, claims.get("mux", {})
        if not isinstance(own, dict) or not isinstance(subject, str | None):
            raise ValueError
        check_subject(subject)
        subscribe, publish = own.get("subscribe", []), own.get("publish", [])
        if not all(
            isinstance(texts, list) and all(isinstance(text, str) for text in texts) for texts in (subscribe, publish)
        ):
            raise ValueError
        return Grants(
            subject,
            Patterns.compile([*self._subscribe, *subscribe], subject),
            Patterns.compile([*self._publish, *publish], subject),
            claims["exp"] + LEEWAY_SECONDS if "exp" in claims else inf,
        )


def _name_of_key(token: str) -> str | None:
    """Return the kid that a token names, or None; nothing of the token has been checked.

    Raises:
        Refused: it is no token.
    """
    with suppress(Exception):  # whatever a parser says of garbage
        kid: str | None = jwt.get_unverified_header(token).get("kid")
        return kid
    raise Refused(reasons.UNAUTHORIZED, _NOT_VALID)
