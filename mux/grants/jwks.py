"""The keys of a JWK set (RFC 7517), fetched from a URL ahead of the tokens that are checked with them.

1. Only a token of a key that is not known waits for a fetch. All that wait do so for the same fetch, which ends within
   FETCH_SECONDS, and no fetch begins within PAUSE_SECONDS of the one before.
2. When a fetch fails, the keys that are known stay, for KEPT_SECONDS.
3. Whoever answers is not believed: no redirect is followed, what is too large is not read to its end, and a key is used
   for the algorithms of its kind alone. A secret is no key here, for everybody can read it.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, urlsplit

import jwt
import orjson
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from mux import reasons
from mux.errors import Refused
from mux.grants.keys import Key, public_key

FETCH_SECONDS = 5.0
"""A fetch that takes longer than this has failed."""

AHEAD_SECONDS = 300.0
"""Seconds from the end of a fetch to the beginning of the next one."""

PAUSE_SECONDS = 10.0
"""Fewest seconds between the beginnings of two fetches, when one has failed or a token names an unknown key."""

KEPT_SECONDS = 3600.0
"""Seconds for which a key is used after the last fetch that found it."""

MAX_BYTES = 256 * 1024
"""Largest answer to a fetch, in bytes, with its head."""

MAX_KEYS = 100
"""Most keys in a JWK set."""

logger = logging.getLogger("mux.grants.jwks")


class NoKeys(Exception):
    """A fetch has failed; the message says why, and has nothing secret in it."""


class KeySet:
    """The keys at a URL.

    Args:
        url: of a JWK set.
        on_removed: is called when a key that was in the set is no longer, or is another.
        clock: returns the time in seconds, from any beginning.
    """

    def __init__(self, url: str, *, on_removed: Callable[[], None], clock: Callable[[], float]) -> None:
        self._url = urlsplit(url)
        # Once, for it reads every certificate of the machine, and holds the loop meanwhile.
        self._trusted = ssl.create_default_context() if self._url.scheme == "https" else None
        self._on_removed = on_removed
        self._clock = clock
        self._raw: dict[str | None, Any] = {}
        self._keys: dict[str | None, Key] = {}
        self._began_at = self._had_at = float("-inf")
        self._has_failed = False
        self._fetching: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to fetch, now and from then on."""
        self._begin()

    async def aclose(self) -> None:
        """End a fetch that is under way, and begin none any more."""
        fetching, self._fetching = self._fetching, None
        if fetching is not None:
            fetching.cancel()
            await asyncio.wait((fetching,))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def find(self, kid: str | None) -> Key | None:
        """Return a key by its name, or None; a set of one key needs no name."""
        if self._clock() - self._had_at > KEPT_SECONDS:
            return None
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid)

    @property
    def may_wait(self) -> bool:
        """True when a fetch is under way, or may begin."""
        return self._fetching is not None or self._clock() - self._began_at >= PAUSE_SECONDS

    async def renew(self) -> None:
        """Wait for the fetch that is under way, or for a new one if it may begin."""
        if self._fetching is None and self.may_wait:
            self._begin()
        if self._fetching is not None:
            await asyncio.wait((self._fetching,))  # whoever stops waiting does not end it for the others

    def refusal(self) -> Refused:
        """Return why a token of a key that is not known is refused: there is none, or the server may not know of it."""
        if self._has_failed or not self._keys:
            return Refused(reasons.TOKEN_KEYS)
        return Refused(reasons.UNAUTHORIZED, "the token is signed with a key that is not known")

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._began_at = self._clock()
        self._fetching = asyncio.get_running_loop().create_task(self._renewed())

    async def _renewed(self) -> None:
        """Fetch the keys, and see to it that they are fetched again."""
        try:
            self._take(await _fetched(self._url, self._trusted))
        except NoKeys as error:
            if not self._has_failed:
                logger.warning("the keys of tokens cannot be had from %s: %s", self._url.hostname, error)
            self._has_failed = True
        else:
            if self._has_failed:
                logger.warning("the keys of tokens are had again from %s", self._url.hostname)
            self._has_failed = False
        finally:
            self._fetching = None
            seconds = PAUSE_SECONDS if self._has_failed else AHEAD_SECONDS
            self._timer = asyncio.get_running_loop().call_later(seconds, self._begin)

    def _take(self, body: bytes) -> None:
        """Use the keys of a set instead of those before.

        Raises:
            NoKeys: it is no set, or has no key that can be used.
        """
        raw = _parsed(body)
        keys = {kid: key for kid, jwk in raw.items() if (key := _key(jwk)) is not None}
        if not keys:
            raise NoKeys("it has no key that tokens can be checked with")
        is_one_gone = any(raw.get(kid) != self._raw[kid] for kid in self._keys)
        self._raw, self._keys, self._had_at = raw, keys, self._clock()
        if is_one_gone:
            self._on_removed()


async def _fetched(url: SplitResult, trusted: ssl.SSLContext | None) -> bytes:
    """Return the body of the answer to a GET, over TLS where somebody is trusted.

    Raises:
        NoKeys: there is none, it is no success, or it is too large or too slow.
    """
    try:
        async with asyncio.timeout(FETCH_SECONDS):
            return await _answer(url, trusted)
    except TimeoutError:
        raise NoKeys(f"it did not answer within {FETCH_SECONDS:g} s") from None
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError; ValueError: a name that cannot be one
        raise NoKeys((getattr(error, "strerror", None) or str(error)).lower()) from None
    except (HttpParserError, HttpParserUpgrade):
        raise NoKeys("its answer is no HTTP") from None


async def _answer(url: SplitResult, trusted: ssl.SSLContext | None) -> bytes:
    port = url.port or (443 if trusted else 80)
    reader, writer = await asyncio.open_connection(url.hostname, port, ssl=trusted)
    try:
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        fields = f"Host: {url.netloc}\r\nAccept: application/json\r\nUser-Agent: mux\r\nConnection: close\r\n"
        writer.write(f"GET {target} HTTP/1.1\r\n{fields}\r\n".encode())
        answer = _Answer()
        length = 0
        while not answer.is_whole and (data := await reader.read(MAX_BYTES)):
            length += len(data)
            if length > MAX_BYTES:
                raise NoKeys(f"its answer is larger than {MAX_BYTES} bytes")
            answer.parser.feed_data(data)
        return answer.body()
    finally:
        writer.transport.abort()


class _Answer:
    """An answer as it is read; httptools calls the methods that begin with on_."""

    def __init__(self) -> None:
        self.parser = HttpResponseParser(self)
        self.is_whole = False
        self._has_length = False
        self._parts: list[bytes] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._has_length |= name.lower() in (b"content-length", b"transfer-encoding")

    def on_body(self, data: bytes) -> None:
        self._parts.append(data)

    def on_message_complete(self) -> None:
        self.is_whole = True

    def body(self) -> bytes:
        """Return the body of a success.

        Raises:
            NoKeys: it is none, or was cut off.
        """
        status = self.parser.get_status_code()
        if status != 200:
            raise NoKeys(f"it answered {status}" if status else "it did not answer")
        if not self.is_whole and self._has_length:  # without a length, its end is the end of the connection
            raise NoKeys("its answer was cut off")
        return b"".join(self._parts)


def _parsed(body: bytes) -> dict[str | None, Any]:
    """Return the JWKs of a set by their names.

    Raises:
        NoKeys: it is no set.
    """
    try:
        found = orjson.loads(body)["keys"]
        jwks = {jwk.get("kid"): jwk for jwk in found}
    except (ValueError, TypeError, KeyError, AttributeError):  # orjson's error is a ValueError
        raise NoKeys("its answer is no JWK set") from None
    if len(found) > MAX_KEYS:
        raise NoKeys(f"it has more than {MAX_KEYS} keys")
    return jwks


def _key(jwk: dict[str, Any]) -> Key | None:
    """Return the key of a JWK; None when no signature is checked with it."""
    if jwk.get("kty") not in ("RSA", "EC", "OKP") or jwk.get("use", "sig") != "sig":
        return None
    try:
        key = public_key(jwt.PyJWK(jwk).key)
    except Exception:  # noqa: BLE001 - whatever is wrong with one key, the others are used
        return None
    named = jwk.get("alg")
    algorithms = tuple(name for name in key.algorithms if named in (None, name))
    return Key(key.material, algorithms) if algorithms else None
