import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.hub.subscriber import SMALL_BYTES, TOGETHER_BYTES

from .fakes import FakeBacklog, FakeClient


@pytest.fixture
def backlog() -> FakeBacklog:
    """Takes reports."""
    return FakeBacklog()


@pytest.fixture
def client(backlog: FakeBacklog) -> FakeClient:
    """A client whose socket takes everything."""
    return FakeClient(backlog)


def test_what_is_written_goes_to_the_socket(client: FakeClient, backlog: FakeBacklog) -> None:
    """The very same object, so that a thousand clients share one buffer."""
    data = b"hello" * 100
    client.subscriber.write(data)
    assert client.written[0] is data
    assert backlog.reports == []


def test_writing_to_a_closed_handle_is_nothing(client: FakeClient, backlog: FakeBacklog) -> None:
    """A transport of uvloop raises RuntimeError then; the loop over the other clients goes on."""
    client.is_broken = True
    client.subscriber.write(b"x" * 1000)
    assert (client.written, backlog.reports) == ([], [])


def test_a_socket_that_takes_no_more_is_reported_once(client: FakeClient, backlog: FakeBacklog) -> None:
    """From the first byte that stays here, until it takes bytes again."""
    client.takes_nothing = True
    client.subscriber.write(b"a")
    client.subscriber.write(b"b")
    assert (backlog.reports, client.subscriber.is_blocked) == (["blocked", "1 more", "1 more"], True)
    client.take_all()
    assert (backlog.reports[3:], client.subscriber.is_blocked) == (["unblocked"], False)


@given(st.lists(st.one_of(st.integers(1, 3000), st.just("take"), st.just("block")), max_size=60), st.booleans())
def test_what_waits_is_few_writes_in_order(steps: list[int | str], ends: bool) -> None:
    """uvloop keeps 800 bytes beside each: ten seconds of 8-byte messages were a hundred times what was counted."""
    client = FakeClient()
    sent = b""
    for number, step in enumerate(steps):
        if step == "take":
            client.take_all()
        elif step == "block":
            client.takes_nothing = True
        else:
            data = bytes([number]) * int(step)
            sent += data
            client.subscriber.write(data)
            waiting = client.subscriber.pending_bytes
            assert waiting == client.pending + len(sent) - sum(map(len, client.written))
    if ends:
        client.ends_one_side = True
        client.subscriber.finish()
        assert client.written.pop() == b"EOF"
    else:
        client.take_all()
    assert b"".join(client.written) == sent


def test_small_writes_are_put_together_while_they_wait(client: FakeClient, backlog: FakeBacklog) -> None:
    """Each is reported, none is lost, and large ones stay the object that others share."""
    client.takes_nothing = True
    client.subscriber.write(b"first")
    for _ in range(10_000):
        client.subscriber.write(b"12345678")
    large = b"x" * SMALL_BYTES
    client.subscriber.write(large)
    assert len(client.written) <= 2 + 80_000 // TOGETHER_BYTES + 1
    assert client.written[-1] is large
    assert b"".join(client.written) == b"first" + b"12345678" * 10_000 + large
    assert len(backlog.reports) == 1 + 10_002


def test_what_piles_up_is_reported_as_it_is_written(client: FakeClient, backlog: FakeBacklog) -> None:
    """How much is too much is the hub's business. Nothing is ended while writing."""
    client.takes_nothing = True
    client.subscriber.write(b"x" * 60)
    client.subscriber.write(b"x" * 40)
    assert backlog.reports == ["blocked", "60 more", "40 more"]
    assert not client.is_closing()


def test_a_socket_that_takes_bytes_is_not_looked_at(client: FakeClient, backlog: FakeBacklog) -> None:
    """What waits in it is little, and a delivery pays nothing for it."""
    client.pending = 1000
    client.subscriber.write(b"x")
    assert backlog.reports == []


def test_ping_writes_what_a_client_of_this_kind_answers(client: FakeClient) -> None:
    """The bytes are the endpoint's."""
    client.subscriber.ping()
    assert client.written == [b"ping"]


def test_what_is_received_goes_to_the_endpoint(client: FakeClient) -> None:
    """And the client has been heard."""
    assert not client.subscriber.has_sent
    client.subscriber.data_received(b"hi")
    assert client.endpoint.heard == [b"hi"]
    assert client.subscriber.has_sent


def test_the_end_of_what_a_client_sends_lets_the_transport_close(client: FakeClient) -> None:
    """A false return is how asyncio is told so."""
    assert not client.subscriber.eof_received()  # type: ignore[func-returns-value]  # that it returns None is the point


@pytest.mark.parametrize("reason", [None, ConnectionResetError()])
def test_a_lost_connection_is_told_to_the_endpoint(client: FakeClient, reason: Exception | None) -> None:
    """Why it was lost makes no difference."""
    client.subscriber.connection_lost(reason)
    assert client.endpoint.losses == 1


def test_a_subscriber_has_no_dict(client: FakeClient) -> None:
    """It is most of what an idle client costs."""
    assert not hasattr(client.subscriber, "__dict__")


def test_finishing_ends_our_side_and_leaves_the_rest_to_the_client() -> None:
    """A socket that is closed with unread bytes in it is reset, and the goodbye may be lost."""
    client = FakeClient()
    client.ends_one_side = True
    client.subscriber.finish()
    assert (client.written, client.aborts) == ([b"EOF"], 0)


def test_finishing_closes_where_one_side_cannot_be_ended() -> None:
    """TLS; and what is closing already is left alone."""
    client = FakeClient()
    client.subscriber.finish()
    client.subscriber.finish()
    assert client.aborts == 1


def test_finishing_a_connection_that_was_reset_is_no_error() -> None:
    """Asyncio's write_eof() raises until it has seen the reset: once it took the whole drain along."""
    client = FakeClient()
    client.ends_one_side = client.is_broken = True
    client.subscriber.finish()
    assert client.aborts == 1
