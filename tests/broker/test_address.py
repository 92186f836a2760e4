"""Redis URLs."""

from __future__ import annotations

import errno
import ssl

import pytest

from mux.broker.address import CONNECT_SECONDS, Address, make_address
from mux.broker.url import split_url
from mux.errors import InvalidSetting


def parse_address(url: str) -> Address:
    """Return the address of a URL of one server."""
    return make_address(split_url(url))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://", Address(host="localhost", port=6379)),
        ("redis://h:1/7", Address(host="h", port=1)),
        ("redis://:p%40w@h", Address(host="h", port=6379, password="p@w")),
        ("redis://u:pw@h", Address(host="h", port=6379, username="u", password="pw")),
        ("redis://h?socket_connect_timeout=0.5", Address(host="h", port=6379, connect_seconds=0.5)),
        ("redis://h?max_connections=3&health_check_interval=1", Address(host="h", port=6379)),
        ("unix:///run/r.sock", Address(path="/run/r.sock")),
        ("unix://u:pw@/run/r.sock?db=2", Address(path="/run/r.sock", username="u", password="pw")),
    ],
)
def test_url_is_read_as_redis_py_reads_it(url: str, address: Address) -> None:
    """Host, port, path and credentials are used; pools and databases mean nothing here."""
    assert parse_address(url) == address


def test_tls_options_of_the_url_are_kept() -> None:
    """rediss:// checks certificates unless told otherwise, as redis-py does."""
    strict, lax = parse_address("rediss://h"), parse_address("rediss://h?ssl_cert_reqs=none")
    assert strict.tls is not None
    assert strict.tls.verify_mode is ssl.CERT_REQUIRED
    assert strict.tls.check_hostname
    assert lax.tls is not None
    assert lax.tls.verify_mode is ssl.CERT_NONE
    assert strict.connect_seconds == CONNECT_SECONDS


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://u:secret@h:1", "redis://h:1"),
        ("rediss://u:secret@h:1", "rediss://h:1"),
        ("unix://u:secret@/r.sock", "unix:///r.sock"),
        ("redis://secret@[::1]:7", "redis://[::1]:7"),
    ],
)
def test_address_is_shown_without_credentials(url: str, shown: str) -> None:
    """What is logged has no password in it, nor has the repr."""
    assert str(parse_address(url)) == shown
    assert "secret" not in repr(parse_address(url))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://u:secret@h?colour=red", "option 1 of the Redis URL is unknown"),
        ("redis://u:secret@h?db=1&host=other", "option 2 of the Redis URL is unknown"),
        ("redis://u:secret@h?retry=3", "option retry cannot be used"),
        ("redis://u:secret@h?socket_connect_timeout=soon", "option socket_connect_timeout cannot be used"),
        ("redis://u:secret@h?socket_connect_timeout=-1", "more than 0"),
        ("redis://u:secret@h?socket_connect_timeout=inf", "at most 86400"),
        ("rediss://u:secret@h?ssl_cert_reqs=secret", "option ssl_cert_reqs cannot be used: it has a value"),
        ("rediss://u:secret@h?ssl_ca_certs=/secret", "option ssl_ca_certs cannot be used: no such file"),
        ("rediss://u:secret@h?ssl_ca_certs=/etc/passwd", "option ssl_ca_certs cannot be used: the file is no cert"),
        ("unix://u:secret@/r.sock?ssl_ca_certs=/secret", "option ssl_ca_certs cannot be used"),
    ],
)
def test_bad_option_is_named_and_nothing_of_the_url(url: str, words: str) -> None:
    """An option is named when redis-py knows it; one that is unknown may be half of a password."""
    with pytest.raises(InvalidSetting, match=words) as refused:
        parse_address(url)
    assert not any(word in str(refused.value) for word in ("secret", "colour", "soon"))
    assert refused.value.__context__ is None


def test_a_process_without_descriptors_is_no_fault_of_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading files of TLS needs some, and it was once said that the options contradict each other."""

    def refuse(url: str) -> None:
        raise OSError(errno.EMFILE, "")

    monkeypatch.setattr("redis.asyncio.connection.ConnectionPool.from_url", refuse)
    with pytest.raises(InvalidSetting, match=r"^the Redis URL cannot be used now: too many open files$"):
        parse_address("redis://localhost?db=1")
