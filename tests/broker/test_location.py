"""Redis URLs of every kind."""

from __future__ import annotations

import ssl

import pytest

from mux.broker.location import parse_location
from mux.broker.sentinel import SentinelMaster
from mux.errors import InvalidSetting


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://u:secret@h:1", "redis://h:1"),
        ("unix:///r.sock", "unix:///r.sock"),
        ("redis+sentinel://u:secret@a,b:5/main", "the master 'main' of a:26379,b:5"),
        ("rediss+sentinel://a/main/3?ssl_cert_reqs=none", "the master 'main' of a:26379"),
        ("redis+cluster://a,b:7,[::1]:8", "the cluster of a:6379,b:7,[::1]:8"),
    ],
)
def test_location_is_shown_without_credentials(url: str, shown: str) -> None:
    """Fit for a log."""
    assert str(parse_location(url)) == shown


async def test_nodes_of_a_cluster_take_turns() -> None:
    """A node that does not answer is not asked again before the others."""
    location = parse_location("rediss+cluster://u:pw@a,b:7?ssl_cert_reqs=none&socket_connect_timeout=2")
    addresses = [await location.locate() for _ in range(3)]
    assert [(address.host, address.port) for address in addresses] == [("a", 6379), ("b", 7), ("a", 6379)]
    assert {(address.username, address.password, address.connect_seconds) for address in addresses} == {("u", "pw", 2)}
    assert addresses[0].tls is not None


@pytest.mark.parametrize(
    ("query", "username", "password", "has_tls"),
    [
        ("", None, None, True),
        ("&sentinel_password=pw", None, "pw", True),
        ("&sentinel_username=u&sentinel_password=p%40w&sentinel_ssl=no", "u", "p@w", False),
    ],
)
def test_sentinels_have_credentials_of_their_own_and_the_tls_of_the_master(
    query: str, username: str | None, password: str | None, has_tls: bool
) -> None:
    """The password of Redis is never given to a sentinel, and what reaches Redis by TLS reaches them so."""
    location = parse_location(f"rediss+sentinel://user:secret@a/main?ssl_cert_reqs=none{query}")
    assert isinstance(location, SentinelMaster)
    (sentinel,) = location._sentinels
    assert (sentinel.username, sentinel.password, sentinel.tls is not None) == (username, password, has_tls)
    assert sentinel.tls is None or sentinel.tls.verify_mode is ssl.CERT_NONE


def test_sentinels_may_have_tls_alone() -> None:
    """Sentinels with TLS in front of a Redis without."""
    location = parse_location("redis+sentinel://a/main?sentinel_ssl=yes")
    assert isinstance(location, SentinelMaster)
    assert location._sentinels[0].tls is not None
    assert location._template.tls is None


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis+sentinel://a,b", "the master is missing"),
        ("redis+sentinel:///main", "a host is missing"),
        ("redis+sentinel://a/main?sentinel_ssl=perhaps", "sentinel_ssl must be yes or no"),
        ("redis+sentinel://a/main?sentinel_colour=red", "option 1 of the Redis URL is unknown"),
        ("redis+cluster://a?sentinel_password=pw", "option 1 of the Redis URL is unknown"),
        ("redis+cluster://a,,b", "a host is missing"),
        ("redis+cluster://a:b", "not host or host:port"),
        ("redis+cluster://[a", "not host or host:port"),
        ("redis://a:1,b:2", "several servers; that is for redis.sentinel:// and redis.cluster://"),
        ("redis+cluster://u:secret@a?colour=red", "option 1 of the Redis URL is unknown"),
    ],
)
def test_bad_url_says_what_is_wrong_and_no_password(url: str, words: str) -> None:
    """One sentence for the operator."""
    with pytest.raises(InvalidSetting, match=words) as refused:
        parse_location(url)
    assert "secret" not in str(refused.value)
