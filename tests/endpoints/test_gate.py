from __future__ import annotations

import pytest

from mux.endpoints.gate import Gate, is_local_name, is_loopback
from mux.errors import InspectionRefused

HERE = ("127.0.0.1", "127.0.0.1")
LOCAL = {"host": ["localhost:8000"]}
SECRET = "correct-horse"  # noqa: S105 - of a test


@pytest.mark.parametrize("addresses", [HERE, ("::1", "::1"), ("::ffff:127.0.0.1", "127.9.9.9"), None])
@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "LOCALHOST", "127.0.0.1:8000", "127.1.2.3", "[::1]:8000"]
)
def test_this_machine_may_pass(addresses: tuple[str, str] | None, host: str) -> None:
    """By any of its loopback addresses and names, and over a unix socket."""
    Gate(None).check(addresses=addresses, version="1.1", headers={"host": [host]})


@pytest.mark.parametrize(
    "addresses", [("10.0.0.1", "127.0.0.1"), ("127.0.0.1", "10.0.0.1"), ("10.0.0.1", "10.0.0.1"), ("", "127.0.0.1")]
)
def test_another_machine_may_not_pass(addresses: tuple[str, str]) -> None:
    """Both ends have to be of this one; the sentence says what to do."""
    with pytest.raises(InspectionRefused, match="--inspect-token"):
        Gate(None).check(addresses=addresses, version="1.1", headers=LOCAL)


@pytest.mark.parametrize(
    "hosts", [["evil.com"], ["localhost.evil.com"], ["10.0.0.1"], ["a@localhost"], [], ["localhost"] * 2]
)
@pytest.mark.parametrize("addresses", [HERE, None])
def test_a_name_of_another_host_may_not_pass(hosts: list[str], addresses: tuple[str, str] | None) -> None:
    """A page of evil.com, whose name its owner has pointed at 127.0.0.1."""
    with pytest.raises(InspectionRefused, match="under a name like localhost"):
        Gate(None).check(addresses=addresses, version="1.1", headers={"host": hosts})


@pytest.mark.parametrize("header", ["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-real-ip", "via"])
def test_who_comes_through_a_proxy_may_not_pass(header: str) -> None:
    """The proxy is on this machine; who asked it is not."""
    with pytest.raises(InspectionRefused, match="behind a proxy"):
        Gate(None).check(addresses=HERE, version="1.1", headers=LOCAL | {header: ["x"]})


def test_who_speaks_as_a_proxy_that_was_told_nothing_may_not_pass() -> None:
    """nginx names the server itself as the Host, and nobody who asked it: what shows it is HTTP/1.0."""
    with pytest.raises(InspectionRefused, match="behind a proxy"):
        Gate(None).check(addresses=HERE, version="1.0", headers=LOCAL)


def test_who_has_the_token_may_pass_from_anywhere() -> None:
    """Through proxies as well; the scheme's case does not matter (RFC 9110, section 11.1)."""
    for value in (f"Bearer {SECRET}", f"bearer  {SECRET}"):
        headers = {"host": ["mux.example.com"], "via": ["1.1 x"], "authorization": [value]}
        Gate(SECRET).check(addresses=("10.0.0.1", "10.0.0.2"), version="1.0", headers=headers)


@pytest.mark.parametrize(
    "values",
    [
        [],
        [""],
        ["Bearer"],
        ["Bearer wrong"],
        [SECRET],
        [f"Basic {SECRET}"],
        [f"Bearer {SECRET}x"],
        [f"Bearer {SECRET}"] * 2,
        ["Bearer \udcff"],
    ],
)
def test_who_has_no_token_may_not_pass(values: list[str]) -> None:
    """When there is one it is always wanted, of this machine as well; and no message repeats it."""
    with pytest.raises(InspectionRefused, match="Bearer <token>") as caught:
        Gate(SECRET).check(addresses=HERE, version="1.1", headers=LOCAL | {"authorization": values})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["", "localhost", "10.0.0.1", "::ffff:10.0.0.1", "0.0.0.0", "::", "127.0.0.1.evil.com"]
)
def test_what_is_no_loopback_address(address: str) -> None:
    """Names are not looked up."""
    assert not is_loopback(address)


@pytest.mark.parametrize(
    "host", ["[::1", "localhost:http", "localhost/x", "localhost:8000?x", "", "127.0.0.1 ", "[::2]"]
)
def test_what_is_no_local_name(host: str) -> None:
    """Nor raises."""
    assert not is_local_name([host])
