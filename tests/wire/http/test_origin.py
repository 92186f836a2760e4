import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux import reasons
from mux.errors import InvalidSetting, Refused
from mux.wire.http.origin import OriginPolicy
from tests.support.refusals import refused


def passes(policy: OriginPolicy, origin: str | None, host: str) -> bool:
    """Tell whether a request with these two headers is let through."""
    try:
        policy.check(origin, host)
    except Refused as error:
        return error.reason is not reasons.ORIGIN
    return True


@pytest.mark.parametrize("host", ["example.com", ""])
def test_who_sends_no_origin_is_no_browser(host: str) -> None:
    """Without the header there is no page to distrust."""
    assert passes(OriginPolicy(), None, host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://example.com", "example.com"),
        ("http://example.com", "example.com:80"),
        ("http://example.com:80", "example.com"),
        ("https://example.com", "example.com:443"),
        ("https://example.com:443", "example.com"),
        ("http://localhost:8000", "localhost:8000"),
        ("HTTP://EXAMPLE.com", "Example.COM"),
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("http://[::1]:8000", "[::1]:8000"),
        ("http://[::1]", "[::1]:80"),
        ("https://[2001:DB8::1]", "[2001:db8::1]"),
    ],
)
def test_a_page_of_the_same_host_passes(origin: str, host: str) -> None:
    """Host and port are compared without case, and the scheme's own port need not be written."""
    assert passes(OriginPolicy(), origin, host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil.com", "example.com"),
        ("http://sub.example.com", "example.com"),
        ("http://example.com.evil.com", "example.com"),
        ("http://evilexample.com", "example.com"),
        ("http://example.com:81", "example.com"),
        ("http://example.com", "example.com:8000"),
        ("https://example.com", "example.com:80"),
        ("http://[::2]", "[::1]"),
        ("http://example.com", ""),
    ],
)
def test_a_page_of_another_host_or_port_is_refused(origin: str, host: str) -> None:
    """Neither a part of the name nor the name on another port is the same host."""
    assert not passes(OriginPolicy(), origin, host)


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "example.com",
        "//example.com",
        "://example.com",
        "http://",
        "http:example.com",
        "http://example.com/",
        "http://example.com/path",
        "http://example.com?query",
        "http://example.com#fragment",
        "http://user@example.com",
        "http://user:secret@example.com",
        "http://evil.com@example.com",
        "http://example.com http://evil.com",
        "http://example.com, http://evil.com",
        "http://example.com:port",
        "http://example.com:65536",
        "http://example.com:-1",
        "http://[example.com",
        "http://example\t.com",
        "http://example\n.com",
        "http://\u2100.com",
        "x\nSet-Cookie: y://example.com",
        "x\r\n\r\n://example.com",
    ],
)
def test_what_is_no_origin_is_refused(origin: str) -> None:
    """Anything that a browser would not send fails, even where the host of this server is in it."""
    assert not passes(OriginPolicy(), origin, "example.com")


@given(st.text(), st.text())
def test_any_two_headers_are_answered(origin: str, host: str) -> None:
    """Whatever a client sends, the policy decides and nothing else is raised."""
    passes(OriginPolicy(["https://example.com"]), origin, host)


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("https://example.com", True),
        ("https://example.com:443", True),
        ("HTTPS://Example.com", True),
        ("http://localhost:3000", True),
        ("http://server", True),
        ("http://example.com", False),
        ("https://example.com:8443", False),
        ("https://www.example.com", False),
        ("http://localhost", False),
        ("null", False),
    ],
)
def test_a_page_of_the_list_passes_beside_those_of_the_host(origin: str, expected: bool) -> None:
    """An entry of the list stands for one scheme, host and port."""
    policy = OriginPolicy(["https://EXAMPLE.com", "http://localhost:3000"])
    assert passes(policy, origin, "server") is expected


@pytest.mark.parametrize(
    ("listed", "others"),
    [
        ("null", ["file://", "NULL", "", "http://", "http://null"]),
        ("file://", ["null", "file:///", "file://host", "content://", "file:"]),
        ("FILE://", ["null"]),
        ("content://", ["file://", "null"]),
    ],
)
def test_a_page_without_a_host_passes_when_it_is_listed(listed: str, others: list[str]) -> None:
    """A page in a sandbox says `null`, and one from a file `null` or `file://`; each is itself only."""
    policy = OriginPolicy([listed])
    assert policy.names(listed)
    for host in ("server", ""):
        assert passes(policy, listed.lower(), host)
        assert not any(passes(policy, other, host) for other in others)
        assert not passes(OriginPolicy(["https://example.com"]), listed, host)


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        ("cross-site", False),
        ("same-site", False),
        (" Cross-Site ", False),
        ("same-origin", True),
        ("none", True),
        ("", True),
    ],
)
def test_a_page_that_sends_no_origin_is_known_by_its_site(site: str, expected: bool) -> None:
    """An image may be asked for from anywhere; where any page may connect it is let in."""
    OriginPolicy(["*"]).check_site([site])
    try:
        OriginPolicy(["https://example.com"]).check_site([site])
    except Refused as error:
        passed = error.reason is not reasons.ORIGIN
    else:
        passed = True
    assert passed == expected


@pytest.mark.parametrize("origin", ["http://evil.com", "null", "file://", "", "nonsense"])
def test_a_star_lets_every_page_in(origin: str) -> None:
    """With * on the list nothing is looked at, null included."""
    assert passes(OriginPolicy(["https://example.com", "*"]), origin, "example.com")


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "NULL",
        "example.com",
        "https://",
        "ws://",
        "file:",
        "file:///",
        "file:///tmp",
        "https://example.com/",
        "https://a:b@example.com",
        "https://example.com:no",
        "https://*.example.com",
        "https://exa mple.com",
        "https://münchen.de",
    ],
)
def test_a_list_with_something_else_on_it_is_refused(entry: str) -> None:
    """An entry that can never match is a mistake, and the sentence names it."""
    with pytest.raises(InvalidSetting, match="is not scheme://host or scheme://host:port") as caught:
        OriginPolicy(["https://example.com", entry])
    assert repr(entry) in str(caught.value)


def test_a_refusal_is_a_403_that_says_what_the_operator_can_do() -> None:
    """The answer names the option that lists who may connect."""
    with refused(reasons.ORIGIN, "--allowed-origin"):
        OriginPolicy().check("http://evil.com", "example.com")
    assert reasons.ORIGIN.status == 403


@pytest.mark.parametrize(
    ("origin", "may"),
    [
        ("https://example.com", True),
        ("http://feed.example.com", True),  # this very host
        ("https://other.example.com", False),
        ("null", False),
        ("no origin", False),
    ],
)
@pytest.mark.parametrize("others", [(), ("*",)])
def test_a_page_acts_with_cookies_when_it_is_known_by_name(origin: str, may: bool, others: tuple[str, ...]) -> None:
    """Any page may connect where the list says so; with the cookies of its user it may not."""
    policy = OriginPolicy(("https://example.com", "null", *others))
    assert policy.may_use_cookies(origin, "feed.example.com") is may
