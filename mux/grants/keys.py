"""Keys that tokens are checked with, and the algorithms that each kind of key is for.

A token names an algorithm, and is not believed: a public key would be taken for the secret of an HMAC, which everybody
could make then.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from mux.errors import InvalidSetting

MIN_SECRET_BYTES = 32
"""Fewest bytes of a secret. A shorter one can be guessed from any token made with it (RFC 7518, section 3.2)."""

MIN_RSA_BITS = 2048
"""Fewest bits of an RSA key (RFC 7518, section 3.3)."""

MAX_PATH_CHARACTERS = 255
"""A token_key with more characters than this is taken for a path only when it looks like one."""

BLOCK_BYTES = 64
"""The block size of SHA-256, in bytes. The other hashes that are used have larger blocks."""

SECRET_ALGORITHMS = ("HS256", "HS384", "HS512")

_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


@dataclass(frozen=True, slots=True)
class Key:
    """A key, and the algorithms of tokens that it checks."""

    material: Any = field(repr=False)  # what PyJWT takes: bytes, or a key of cryptography
    algorithms: tuple[str, ...]


def read_key(text: str, *, allows_weak: bool = False) -> Key:
    """Return the key of the setting token_key.

    Args:
        text: a secret, or the path of a public key in PEM.
        allows_weak: a secret may be of any length.

    Raises:
        InvalidSetting: it is none that is safe; the sentence has no secret in it.
    """
    if is_path(text):
        try:
            return public_key(load_pem_public_key(read_file(text)))
        except ValueError:
            raise InvalidSetting("the file of token_key has no public key in PEM") from None
    secret = text.encode("utf-8", "surrogateescape")
    if b"-----BEGIN" in secret:
        raise InvalidSetting("token_key is a secret, or the path of a file in PEM, and not what is in that file")
    if not secret or (len(secret) < MIN_SECRET_BYTES and not allows_weak):
        raise InvalidSetting(
            f"token_key has {len(secret)} bytes; a secret has at least {MIN_SECRET_BYTES}, "
            "and a shorter one needs allow_weak_token_key"
        )
    # Zeros at the end of a secret change nothing (RFC 2104, section 2), and no length is remarked on.
    return Key(secret.ljust(BLOCK_BYTES, b"\0"), SECRET_ALGORITHMS)


def is_path(text: str) -> bool:
    """Tell whether the setting token_key is the path of a file.

    A path with a mistake in it is a path: as a secret, anybody could guess it.
    """
    looks_like_one = text.startswith(("/", "./", "../", "~")) or text.endswith((".pem", ".key", ".pub", ".crt"))
    return looks_like_one or (0 < len(text) < MAX_PATH_CHARACTERS and "\0" not in text and Path(text).is_file())


def read_file(text: str) -> bytes:
    """Return what is in the file that the setting token_key names.

    Raises:
        InvalidSetting: it cannot be read.
    """
    try:
        return Path(text).expanduser().read_bytes()
    except (OSError, RuntimeError, ValueError) as error:  # nobody's home; a NUL
        reason = (getattr(error, "strerror", None) or "it is no path").lower()
        raise InvalidSetting(
            f"token_key is taken for the path of a file, which cannot be read: {reason}; "
            "a secret does not begin with / or ~"
        ) from None


def public_key(key: object) -> Key:
    """Return a public key with the algorithms that it is for.

    Raises:
        InvalidSetting: tokens are not checked with such a key.
    """
    if isinstance(key, RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            raise InvalidSetting(f"the RSA key has {key.key_size} bits; at least {MIN_RSA_BITS} are safe")
        return Key(key, ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"))
    if isinstance(key, EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return Key(key, (_CURVES[key.curve.name],))
    if isinstance(key, Ed25519PublicKey):
        return Key(key, ("EdDSA",))
    raise InvalidSetting("a token is checked with a key of RSA, of the curves P-256, P-384 and P-521, or of Ed25519")
