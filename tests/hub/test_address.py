import pytest

from mux import reasons
from mux.hub.admission import UNREADABLE, Admission, counted_as
from tests.support.refusals import refused


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1 ", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:201", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:4711", "192.0.2.1"),
        ("64:ff9b::192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("2001:0DB8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:1::/64"),
        ("[2001:db8:0:1::2]", "2001:db8:0:1::/64"),
        ("[2001:db8:0:1::2]:4711", "2001:db8:0:1::/64"),
        ("2001:db8:0:2::1", "2001:db8:0:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("fe80::2%eth1", "fe80::/64"),
        ("", ""),
        ("unknown", UNREADABLE),
        ("_hidden", UNREADABLE),
        ("192.0.2.256", UNREADABLE),
        ("192.0.2.1, 192.0.2.2", UNREADABLE),
        ("[", UNREADABLE),
        ("\u0661.2.3.4", UNREADABLE),
    ],
)
def test_an_address_counts_by_whose_it_is(address: str, counted: str) -> None:
    """A /64 is one client's, an IPv4 address is one however it is written, and nonsense is one."""
    assert counted_as(address) == counted


def test_a_client_with_a_network_of_its_own_is_one_address() -> None:
    """From each of 2**64 addresses of its own it could once have as many clients as it liked."""
    admission: Admission[int] = Admission(max_per_address=2)
    for number in range(2):
        address = f"2001:db8::{number}"
        admission.check(clients=0, plain=1, address=address)
        admission.entered(number, address)
    with refused(reasons.ADDRESS, "to one process"):
        admission.check(clients=2, plain=1, address="2001:db8::ffff")
    admission.check(clients=2, plain=1, address="2001:db8:0:1::")
    admission.left(0)
    admission.check(clients=1, plain=1, address="2001:db8::ffff")
