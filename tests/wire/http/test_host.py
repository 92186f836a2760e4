import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux import reasons
from mux.errors import InvalidSetting, Refused
from mux.wire.http.host import HostPolicy, is_loopback

OWN = ("127.0.0.1", 8000)


def passes(
    *hosts: str,
    allowed: tuple[str, ...] = (),
    origin: str | None = None,
    own: tuple[str, int] | None = OWN,
    version: str = "1.1",
    more: tuple[str, ...] = (),
) -> bool:
    """Tell whether a request under some hosts is let through."""
    origins = [] if origin is None else [origin]
    try:
        HostPolicy(allowed).check(hosts, origins, own=own, version=version, names={"host", "accept", *more})
    except Refused as error:
        return error.reason is not reasons.HOST
    return True


@pytest.mark.parametrize("own", [OWN, ("127.9.9.9", 8000), ("::1", 8000), ("::ffff:127.0.0.1", 8000)])
@pytest.mark.parametrize("host", ["evil.example:8000", "EVIL.example.:8000", "a.b.c.nip.io:8000", "x_y.evil:08000"])
def test_a_name_that_a_stranger_may_have_registered_is_refused_with_our_own_port(
    own: tuple[str, int], host: str
) -> None:
    """A browser that comes straight to a loopback address says so, with an Origin or without; no header hides it."""
    assert not passes(host, own=own)
    assert not passes(host, own=own, origin=f"http://{host}", more=("x-real-ip", "x-forwarded-for", "forwarded"))
    assert not passes("localhost:8000", host, own=own)


@pytest.mark.parametrize("port", [80, 443])
def test_a_usual_port_need_not_be_said(port: int) -> None:
    """A browser leaves it out."""
    assert not passes("evil.example", own=("127.0.0.1", port))


@pytest.mark.parametrize(
    "host",
    [
        "localhost:8000",
        "LOCALHOST.:8000",
        "mux.localhost:8000",
        "127.0.0.1:8000",
        "127.1:8000",
        "2130706433:8000",
        "0x7f.0.0.0x1:8000",
        "[::1]:8000",
        "[::ffff:7f00:1]:8000",
        "192.168.1.7:8000",
        "backend",
        "backend:8000",
        "127.0.0.1:9",
    ],
)
def test_what_nobody_can_register_passes(host: str) -> None:
    """Addresses, localhost, and names without a dot: a proxy's upstream, a machine in /etc/hosts."""
    assert passes(host)
    assert passes(host, origin=f"http://{host}")


@pytest.mark.parametrize(
    ("host", "origin", "more"),
    [
        ("chat.example.com", None, ()),
        ("chat.example.com", "https://chat.example.com", ()),
        ("chat.example.com:8443", "https://chat.example.com:8443", ()),
        ("chat.example.com", "http://chat.example.com", ("x-real-ip",)),
        ("chat.example.com:8080", "http://chat.example.com:8080", ("x-forwarded-for",)),
        ("chat.example.com:8000", None, ("via",)),
        ("backend.internal", "https://chat.example.com", ()),
    ],
)
def test_behind_a_proxy_on_this_machine_any_name_passes(host: str, origin: str | None, more: tuple[str, ...]) -> None:
    """It has a port of its own, or shows itself in a way that no script can."""
    assert passes(host, origin=origin, more=more)
    assert passes("chat.example.com:8000", origin="http://chat.example.com:8000", version="1.0")


def test_through_a_tunnel_the_origin_tells() -> None:
    """A port forwarded to us is another one, so only what has an Origin of plain http is known for an attack."""
    assert not passes("evil.example:9000", origin="http://EVIL.example:9000")
    assert not passes("evil.example", origin="http://evil.example")
    assert not passes("evil.example:80", origin="HTTP://evil.example.")
    assert not passes("Evil.example.", origin="http://evil.example:80")
    assert passes("evil.example:9000", origin="http://evil.example:9001")


@pytest.mark.parametrize("own", [None, ("10.0.0.7", 8000), ("fe80::1%eth0", 8000), ("@unix", 8000)])
def test_elsewhere_than_on_loopback_any_name_passes(own: tuple[str, int] | None) -> None:
    """A page can be made to point there, too; but there names are usual, and --allowed-host is for it."""
    assert passes("mux.example.com:8000", own=own, origin="http://mux.example.com:8000")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("feed.example.com", True),
        ("FEED.example.com.:8000", True),
        ("other.example.com", True),
        ("other.example.com:443", True),
        ("other.example.com:8000", False),
        ("[2001:DB8::1]:8000", True),
        ("evil.example", False),
        ("feed.example.com.evil.example", False),
        ("localhost:8000", False),
        ("", False),
        ("feed.example.com:port", False),
        ("a@feed.example.com", False),
        ("feed.example.com, feed.example.com", False),
        ("feed.example.com/", False),
        ("\udcff", False),
    ],
)
def test_with_a_list_only_what_is_on_it_passes(host: str, expected: bool) -> None:
    """Wherever the request came from; an entry without a port is for any."""
    allowed = ("feed.example.com", "Other.example.com:443", "[2001:db8::1]")
    for own in (OWN, ("10.0.0.7", 8000), None):
        assert passes(host, allowed=allowed, own=own, more=("via",)) is expected
    assert not passes(allowed=allowed)
    assert not passes("feed.example.com", "feed.example.com", allowed=allowed)


def test_a_star_lets_every_host_in() -> None:
    """With * on the list nothing is looked at."""
    assert passes("evil.example:8000", allowed=("feed.example.com", "*"), origin="http://evil.example:8000")


@pytest.mark.parametrize(
    "entry", ["", "http://a", "a/b", "a b", "a,b", "a:no", "*.example.com", "u@a", "[::1", "münchen.de"]
)
def test_a_list_with_something_else_on_it_is_refused(entry: str) -> None:
    """An entry that can never match is a mistake, and the sentence names it."""
    with pytest.raises(InvalidSetting, match="is not a host or host:port") as caught:
        HostPolicy(["feed.example.com", entry])
    assert repr(entry) in str(caught.value)


@given(st.lists(st.text(), max_size=2), st.text())
def test_any_host_is_answered(hosts: list[str], origin: str) -> None:
    """Whatever a client sends, the policy decides and nothing else is raised."""
    passes(*hosts, origin=origin)
    passes(*hosts, origin=origin, allowed=("feed.example.com",))


@pytest.mark.parametrize(
    ("address", "expected"),
    [("127.0.0.1", True), ("::1", True), ("::ffff:127.0.0.2", True), ("10.0.0.1", False), ("", False), ("@x", False)],
)
def test_loopback(address: str, expected: bool) -> None:
    """Every spelling of an address of this machine alone."""
    assert is_loopback(address) is expected
