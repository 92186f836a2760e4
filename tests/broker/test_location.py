"""Redis URLs of every kind."""

from __future__ import annotations

import pytest

from mux.broker.location import parse_location
from mux.errors import BrokerUnavailable, InvalidSetting


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://u:secret@h:1", "redis://h:1"),
        ("unix:///r.sock", "unix:///r.sock"),
        ("redis+sentinel://u:secret@a,b:5/main", "the master 'main' of a:26379,b:5"),
        ("rediss+sentinel://a/main/3?ssl_cert_reqs=none", "the master 'main/3' of a:26379"),
        ("redis+cluster://a,b:7,[::1]:8", "the cluster of a:6379,b:7,::1:8"),
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


async def test_sentinels_that_are_away_are_no_end(free_port: int) -> None:
    """Nobody knows the master now; it is asked for again."""
    location = parse_location(f"redis+sentinel://127.0.0.1:{free_port}/main")
    with pytest.raises(BrokerUnavailable, match="knows the master 'main'"):
        await location.locate()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis+sentinel://a,b", "the master is missing"),
        ("redis+sentinel:///main", "a host is missing"),
        ("redis+cluster://a,,b", "a host is missing"),
        ("redis+cluster://a:b", "not host or host:port"),
        ("redis+cluster://[a", "cannot be used"),
        ("redis+magic://a", "no kind of Redis URL"),
        ("http+cluster://a", "no kind of Redis URL"),
        ("redis+cluster://u:secret@a?colour=red", "unknown option 'colour'"),
    ],
)
def test_bad_url_says_what_is_wrong_and_no_password(url: str, words: str) -> None:
    """One sentence for the operator."""
    with pytest.raises(InvalidSetting, match=words) as refused:
        parse_location(url)
    assert "secret" not in str(refused.value)
