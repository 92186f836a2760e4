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
"""A shorter secret can be guessed from any token of it (RFC 7518, section 3.2)."""

MIN_RSA_BITS = 2048
"""RFC 7518, section 3.3."""

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
    path = Path(text)
    if text.endswith(".pem") or (len(text) < 1024 and path.is_file()):
        try:
            return public_key(load_pem_public_key(path.read_bytes()))
        except OSError as error:
            raise InvalidSetting(f"the file of token_key cannot be read: {(error.strerror or '').lower()}") from None
        except ValueError:
            raise InvalidSetting("the file of token_key has no public key in PEM") from None
    secret = text.encode()
    if not secret or (len(secret) < MIN_SECRET_BYTES and not allows_weak):
        raise InvalidSetting(
            f"token_key has {len(secret)} bytes; a secret has at least {MIN_SECRET_BYTES}, "
            "and a shorter one needs allow_weak_token_key"
        )
    return Key(secret, SECRET_ALGORITHMS)


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
