from __future__ import annotations

import pytest

from mux import reasons
from mux.hub.admission import HEADROOM_DESCRIPTORS, LAST_DESCRIPTORS, Admission, descriptors_for_clients
from mux.reasons import Reason
from tests.support.refusals import refused


def test_without_bounds_everybody_may_come() -> None:
    """0 is none."""
    admission: Admission[str] = Admission()
    admission.check(clients=10**6, plain=10**6, address="192.0.2.1")
    assert admission.may_ask(10**9)
    assert not admission.counts_addresses


@pytest.mark.parametrize(
    ("clients", "plain", "reason"),
    [(9, 1, None), (10, 1, reasons.CONNECTIONS), (5, 15, None), (5, 16, reasons.DESCRIPTORS)],
)
def test_clients_and_descriptors_are_bounded(clients: int, plain: int, reason: Reason | None) -> None:
    """Plain connections have descriptors, and are no clients."""
    admission: Admission[str] = Admission(max_connections=10, max_descriptors=20)
    if reason is None:
        admission.check(clients=clients, plain=plain, address="")
    else:
        with refused(reason):
            admission.check(clients=clients, plain=plain, address="")


def test_a_few_more_may_ask_and_hear_no() -> None:
    """Between there is no room and there is nothing left, a refusal has a descriptor."""
    admission: Admission[str] = Admission(max_descriptors=100)
    between = HEADROOM_DESCRIPTORS - LAST_DESCRIPTORS
    assert (admission.has_descriptor(100), admission.has_descriptor(101)) == (True, False)
    assert (admission.may_ask(100 + between), admission.may_ask(101 + between)) == (True, False)


@pytest.mark.parametrize(("limit", "clients"), [(1024, 960), (65, 1), (10, 1)])
def test_some_descriptors_are_not_for_clients(limit: int, clients: int) -> None:
    """However few there are, one client may come."""
    assert descriptors_for_clients(limit) == clients


def test_an_address_has_so_many_clients_at_a_time() -> None:
    """Who leaves makes room, and others are not concerned."""
    admission: Admission[str] = Admission(max_per_address=2)
    for client in ("a", "b"):
        admission.check(clients=0, plain=1, address="192.0.2.1")
        admission.entered(client, "192.0.2.1")
    with refused(reasons.ADDRESS, "at most 2"):
        admission.check(clients=2, plain=1, address="192.0.2.1")
    admission.check(clients=2, plain=1, address="192.0.2.2")
    admission.left("a")
    admission.left("a")
    admission.check(clients=1, plain=1, address="192.0.2.1")


def test_nothing_is_kept_of_clients_that_left_or_have_no_address() -> None:
    """A server that sees a million addresses does not remember them; on a unix socket there are none."""
    admission: Admission[str] = Admission(max_per_address=1)
    for number in range(100):
        admission.entered("a", f"192.0.2.{number}")
        admission.left("a")
    admission.entered("b", "")
    admission.left("nobody")
    assert not admission._from_address
    assert not admission._address_of
    admission.check(clients=1, plain=1, address="")
