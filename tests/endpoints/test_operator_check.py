from __future__ import annotations

import pytest

from mux import reasons
from mux.endpoints.operator_check import LocalHostCheck, TokenCheck, is_local_name
from mux.errors import Refused
from tests.support.refusals import refused
from tests.support.servers import TOKEN


def test_a_request_with_the_token_may_pass_from_anywhere() -> None:
    """The scheme's case does not matter (RFC 9110, section 11.1), nor what host was asked."""
    for value in (f"Bearer {TOKEN}", f"bearer  {TOKEN}"):
        TokenCheck(TOKEN).check(authorization=[value], hosts=["mux.example.com"])


@pytest.mark.parametrize(
    "values",
    [
        [],
        [""],
        ["Bearer"],
        ["Bearer wrong"],
        [TOKEN],
        [f"Basic {TOKEN}"],
        [f"Bearer {TOKEN}x"],
        [f"Bearer {TOKEN}"] * 2,
        ["Bearer \udcff"],
    ],
)
def test_a_request_without_the_token_may_not_pass(values: list[str]) -> None:
    """From this machine neither, and no message repeats the token."""
    with pytest.raises(Refused, match="Bearer <token>") as caught:
        TokenCheck(TOKEN).check(authorization=values, hosts=["localhost"])
    assert caught.value.reason is reasons.INSPECTION
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("values", [[], [""], ["Bearer"], ["Bearer "], ["Bearer None"]])
def test_where_there_is_no_token_nobody_may_pass(values: list[str]) -> None:
    """Rather than everybody; the sentence says what to set."""
    with refused(reasons.INSPECTION, "set inspect_token"):
        TokenCheck(None).check(authorization=values, hosts=["localhost"])


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "LOCALHOST", "127.0.0.1:8000", "127.1.2.3", "[::1]:80"]
)
def test_a_listener_of_this_machine_is_asked_by_a_name_of_it(host: str) -> None:
    """Any of its loopback addresses and names; no token is wanted."""
    LocalHostCheck(is_unix=False).check(authorization=[], hosts=[host])


HOSTILE = [["evil.com"], ["localhost.evil.com"], ["10.0.0.1"], ["a@localhost"], [], ["localhost"] * 2, ["[::2]"], [""]]


@pytest.mark.parametrize("hosts", HOSTILE)
def test_a_page_of_another_site_may_not_pass(hosts: list[str]) -> None:
    """The owner of evil.com has pointed its name at 127.0.0.1. No browser opens a unix socket."""
    with refused(reasons.INSPECTION, "under a name like localhost"):
        LocalHostCheck(is_unix=False).check(authorization=[], hosts=hosts)
    LocalHostCheck(is_unix=True).check(authorization=[], hosts=hosts)


@pytest.mark.parametrize("host", ["[::1", "localhost:http", "localhost/x", "localhost:8000?x", "", "127.0.0.1 "])
def test_what_is_no_local_name(host: str) -> None:
    """Nor raises."""
    assert not is_local_name([host])
