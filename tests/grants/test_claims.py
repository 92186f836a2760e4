"""What a token says to an SDK client beside its grants."""

from __future__ import annotations

from math import inf
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.grants.claims import Claims, OutOfTime, read_claims
from tests.support.tokens import SECRET


def read(**claims: Any) -> Claims:
    """Return the claims of a token at the time 1000."""
    return read_claims(jwt.encode(claims, SECRET, "HS256"), 1000.0)


def test_what_a_token_says() -> None:
    """All of it may be left out; `expire_at` counts in the place of `exp`, and 0 is never."""
    assert read() == Claims("", None, inf, {})
    assert read(sub="ada", channel="a", exp=1001) == Claims("ada", "a", 1001.0, {})
    assert read(exp=1001, expire_at=2000).ends == 2000.0
    assert read(exp=1001, expire_at=0).ends == inf
    assert read(channels=["a", "b"], subs={"b": {"data": {"x": 1}, "info": 2}, "c": {}}).subs == {
        "a": b"",
        "b": b'{"x":1}',
        "c": b"",
    }


@pytest.mark.parametrize("claims", [{"exp": 1000}, {"nbf": 1001}, {"exp": 1001, "expire_at": 1000}, {"exp": 0}])
def test_a_token_out_of_its_time(claims: dict[str, int]) -> None:
    """To the second, for its client asks for the next one by itself."""
    with pytest.raises(OutOfTime):
        read(**claims)


@pytest.mark.parametrize(
    "claims",
    [
        {"channel": 7},
        {"expire_at": "soon"},
        {"expire_at": -1},
        {"expire_at": True},
        {"expire_at": 2**80},
        {"channels": "a"},
        {"channels": [1]},
        {"subs": ["a"]},
        {"subs": {"a": 1}},
        {"subs": {"a": {"data": 2**80}}},
        {"subs": {"a": {"data": "\ud800"}}},
    ],
)
def test_claims_of_other_types(claims: dict[str, Any]) -> None:
    """Whoever signed it was mistaken."""
    with pytest.raises(ValueError, match=r"is|are|no JSON"):
        read(**claims)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["channel", "channels", "subs", "expire_at"]), JSON))
def test_whatever_is_said_it_is_read_or_is_a_mistake(claims: dict[str, Any]) -> None:
    """No other error comes of it."""
    try:
        found = read(**claims)
    except ValueError:
        return
    assert all(isinstance(name, str) for name in found.subs)
