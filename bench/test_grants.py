"""Find out what a token grants.

What does a token cost of which the process knows already what it grants, and what one that is new, by the algorithm
of its signature? No sockets: test_tokens.py has what it costs a client that comes in.

The plain decoding by PyJWT stands beside them: it compiles no patterns, counts no address, and remembers nothing.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench.conftest import Benchmark, Score
from mux.grants.authority import Authority
from mux.settings.settings import Settings

SECRET = "a secret of the benchmarks, long enough"  # noqa: S105 - of no server

PRIVATE = generate_private_key(SECP256R1())

REPEATS = 500

CLAIMS = {
    "sub": "42",
    "exp": int(time.time()) + 86_400,
    "mux": {"subscribe": ["orders.*", "user.{sub}"], "publish": ["chat"]},
}


def tokens(algorithm: str) -> list[str]:
    """Return tokens that differ."""
    key: Any = SECRET if algorithm == "HS256" else PRIVATE
    return [jwt.encode({**CLAIMS, "jti": str(number)}, key, algorithm) for number in range(REPEATS)]


def public_file(folder: Path) -> str:
    """Write the public half of PRIVATE into a folder; return its path."""
    path = folder / "public.pem"
    path.write_bytes(PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return str(path)


def test_token_known(benchmark: Benchmark, score: Score) -> None:
    """A token that has come before."""
    authority = Authority(Settings(token_key=SECRET))
    (token, *_) = tokens("HS256")

    def look_up() -> None:
        for _ in range(REPEATS):
            authority.grants(token, "")

    benchmark(look_up)
    score("token_known", "us/token", per=REPEATS)


@pytest.mark.parametrize("algorithm", ["HS256", "ES256"])
@pytest.mark.parametrize("contender", ["PyJWT", "mux"])
def test_token_new(contender: str, algorithm: str, tmp_path: Path, benchmark: Benchmark, score: Score) -> None:
    """Tokens that come for the first time, each from an address of its own."""
    benchmark.group = case = f"token_new_{algorithm}"
    settings = Settings(token_key=SECRET if algorithm == "HS256" else public_file(tmp_path))
    key: Any = SECRET if algorithm == "HS256" else PRIVATE.public_key()
    new, addresses = tokens(algorithm), itertools.count()

    def check() -> None:
        if contender == "PyJWT":
            for token in new:
                jwt.decode(token, key, algorithms=[algorithm], leeway=30)
            return
        authority = Authority(settings, lambda: float(next(addresses)))  # each in a second of its own
        for token in new:
            authority.grants(token, "")

    benchmark(check)
    score(case, "us/token", per=REPEATS, contender=contender)
