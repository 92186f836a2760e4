"""Tokens for tests: signed with a key of the tests, or wrong in one way."""

from __future__ import annotations

import time
from base64 import urlsafe_b64encode
from functools import cache
from pathlib import Path
from typing import Any

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SECRET = "a secret of the tests, long enough for HS256"  # noqa: S105 - of servers that live for a test

AUDIENCE = "tests"

GARBAGE_BYTES = 8192


@cache
def _private_key(number: int) -> EllipticCurvePrivateKey:
    return generate_private_key(SECP256R1())


def private_key(number: int = 0) -> EllipticCurvePrivateKey:
    """Return a key of a curve that ES256 is for; another one for another number."""
    return _private_key(number)


def public_pem() -> bytes:
    """Return the public half of private_key()."""
    return private_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def key_file(folder: Path) -> str:
    """Write the public half of private_key() into a folder; return its path."""
    path = folder / "public.pem"
    path.write_bytes(public_pem())
    return str(path)


def claims(
    subject: str = "ada", *, subscribe: tuple[str, ...] = (), publish: tuple[str, ...] = (), **others: Any
) -> dict[str, Any]:
    """Return the claims of a token that is good for an hour, with others on top."""
    mux = {"subscribe": list(subscribe), "publish": list(publish)}
    return {"sub": subject, "exp": int(time.time()) + 3600, "aud": AUDIENCE, "mux": mux, **others}


def token(
    subject: str = "ada",
    *,
    subscribe: tuple[str, ...] = (),
    publish: tuple[str, ...] = (),
    kid: str | None = None,
    **others: Any,
) -> str:
    """Return a token that is signed with private_key(), and says so, or names another key."""
    headers = None if kid is None else {"kid": kid}
    return jwt.encode(claims(subject, subscribe=subscribe, publish=publish, **others), private_key(), "ES256", headers)


def secret_token(
    subject: str = "ada", *, subscribe: tuple[str, ...] = (), publish: tuple[str, ...] = (), **others: Any
) -> str:
    """Return a token that is signed with SECRET."""
    return jwt.encode(claims(subject, subscribe=subscribe, publish=publish, **others), SECRET, "HS256")


def wrong_tokens(granted: str) -> dict[str, str]:
    """Return tokens that would grant a channel if each was not wrong in one way, by what is wrong."""
    now = int(time.time())
    own = claims(subscribe=(granted,), publish=(granted,))
    encode = jwt.encode
    by_hand = [urlsafe_b64encode(orjson.dumps(part)).rstrip(b"=").decode() for part in ({"alg": "HS256"}, own)]
    signed = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    message = ".".join(by_hand)
    confused = urlsafe_b64encode(signed.sign(message.encode(), public_pem())).rstrip(b"=").decode()
    return {
        "expired": encode(own | {"exp": now - 60}, private_key(), "ES256"),
        "not yet valid": encode(own | {"nbf": now + 60}, private_key(), "ES256"),
        "signed with another key": encode(own, private_key(1), "ES256"),
        "for another audience": encode(own | {"aud": "others"}, private_key(), "ES256"),
        "not signed": encode(own, "", "none"),
        "HMAC with the bytes of the public key": f"{message}.{confused}",
        "garbage": ("garbage." * GARBAGE_BYTES)[:GARBAGE_BYTES],
        "empty": "",
    }
