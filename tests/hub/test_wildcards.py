"""Listeners to many channels at once, against a plain list of what was published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.hub.router import MATCHES_AT_ONCE, Router
from mux.wire.channel import Namespace
from mux.wire.publication import BINARY, JOINED, Publication, matched
from mux.wire.resp import Push

from .fakes import FakeClient, late_after, lines


def named(channel: bytes, publications: Sequence[Publication]) -> bytes:
    """Encode so that a test can read it: a line for each message, with its number, and its channel if it is Matched."""
    if not channel.endswith(b"*"):
        return b"".join(b"%b %d %b\n" % (channel, number, payload) for payload, _, number in publications)
    return b"".join(
        b"%b %d %b %b\n" % (channel, number, own, payload) for payload, _, number, own in matched(publications)
    )


def message(channel: bytes, payload: bytes = b"x") -> Push:
    """Return a message as it comes from Redis."""
    return [b"pmessage", b"feed:*", channel, payload]


@pytest.fixture
def router() -> Router:
    """Nobody listens to anything."""
    return Router(1000, Namespace("feed:").has_channel)


def listener(router: Router, *channels: bytes) -> FakeClient:
    """Return a client that listens to channels."""
    client = FakeClient(encode=named)
    for channel in channels:
        router.join(client.subscriber, channel)
    return client


def heard(client: FakeClient) -> list[bytes]:
    """Return the lines that were written to a client."""
    return b"".join(client.written).splitlines()


def test_a_wildcard_hears_every_channel_that_begins_so(router: Router) -> None:
    """In one order and one write for a batch, the very same bytes for all who listen to it."""
    alice, bob, carol = listener(router, b"feed:a.*"), listener(router, b"feed:a.*"), listener(router, b"feed:b.*")
    router.dispatch(
        [message(b"feed:a.1"), message(b"feed:a.2"), message(b"feed:a."), message(b"feed:a"), message(b"feed:a.1")]
    )
    assert alice.written == [
        b"feed:a.* 1 feed:a.1 x\nfeed:a.* 2 feed:a.2 x\nfeed:a.* 3 feed:a. x\nfeed:a.* 5 feed:a.1 x\n"
    ]
    assert alice.written[0] is bob.written[0]
    assert carol.written == []
    assert (router.received, router.unheard, router.delivered) == (5, 1, 8)


def test_wildcards_of_several_lengths_hear_the_same_message(router: Router) -> None:
    """Also when a name is shorter than what others have before the star."""
    client = listener(router, b"feed:*", b"feed:a*", b"feed:abc.*", b"feed:a")
    router.dispatch([message(b"feed:a")])
    assert sorted(heard(client)) == [b"feed:* 1 feed:a x", b"feed:a 1 x", b"feed:a* 1 feed:a x"]


def test_a_wildcard_hears_only_channels_that_clients_can_name(router: Router) -> None:
    """Neither the talk of processes, nor what other programs publish under names that cannot be."""
    client = listener(router, b"feed:*")
    names = [b"feed:$fleet", b"feed:", b"feed:a b", b"feed:\xff", b"feed:a*", b"feed:" + b"a" * 256, b"feed:a\x04"]
    router.dispatch([message(name) for name in names])
    router.dispatch([message(b"feed:a$*b"), message(b"feed:" + b"a" * 255)])
    assert len(heard(client)) == 2
    assert (router.received, router.unheard) == (9, 7)


def test_a_wildcard_hears_what_a_message_is_known_to_be(router: Router) -> None:
    """Its mark is not a part of the name."""
    kinds: list[Any] = []

    def keep(channel: bytes, publications: Sequence[Publication]) -> bytes:
        kinds.extend(publications)
        return b""

    router.join(FakeClient(encode=keep).subscriber, b"feed:*")
    router.dispatch([message(b"feed:a\x00"), message(b"feed:a\x01")])
    assert kinds == [(b"x", BINARY, 1, b"feed:a"), (b"x", JOINED, 2, b"feed:a")]


def test_a_message_that_is_too_large_is_counted_once(router: Router) -> None:
    """Whether or not the channel has a subscriber of its own."""
    client = listener(router, b"feed:*", b"feed:a")
    router.dispatch([message(b"feed:a", b"x" * 1001), message(b"feed:b", b"x" * 1001), message(b"feed:c")])
    assert heard(client) == [b"feed:* 3 feed:c x"]
    assert (router.received, router.unheard, router.oversized) == (3, 0, 2)


def test_a_name_that_ends_with_a_star_is_no_channel(router: Router) -> None:
    """Another program may publish there, and nobody takes it for what is published to all."""
    plain, wild = FakeClient(encode=lines), listener(router, b"feed:a*")
    router.join(plain.subscriber, b"feed:a")
    router.dispatch([message(b"feed:a*")])
    assert (plain.written, wild.written) == ([], [])


def test_who_listens_to_a_wildcard_is_known(router: Router) -> None:
    """As with a channel."""
    client = listener(router, b"feed:a.*", b"feed:b")
    assert (router.count(b"feed:a.*"), router.count(b"feed:a.1"), len(router)) == (1, 0, 2)
    assert list(router.subscribers(b"feed:a.*")) == [client.subscriber]
    assert set(router.channels(client.subscriber)) == {b"feed:a.*", b"feed:b"}
    router.join(client.subscriber, b"feed:a.*")
    router.leave(client.subscriber, b"feed:never*")
    assert set(router.leave_all(client.subscriber)) == {b"feed:a.*", b"feed:b"}
    assert (router.count(b"feed:a.*"), len(router)) == (0, 0)
    router.dispatch([message(b"feed:a.1")])
    assert (client.written, router.unheard) == ([], 1)


def test_a_torrent_is_delivered_in_parts(router: Router) -> None:
    """Each message may be of another channel, so a part is bounded in messages; the order stays."""
    client = listener(router, b"feed:*")
    count = 2 * MATCHES_AT_ONCE + 1
    router.collect([message(b"feed:%d" % number) for number in range(count)])
    assert [router.deliver(late_after(1)) for _ in range(3)] == [True, True, False]
    assert [int(line.split()[1]) for line in heard(client)] == list(range(1, count + 1))


WILDCARDS = [b"feed:*", b"feed:a*", b"feed:aa*", b"feed:b*", b"feed:aaaa*"]
CHANNELS = [b"feed:a", b"feed:aa", b"feed:aab", b"feed:b", b"feed:a\x00", b"feed:$a"]
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["join", "leave"]), st.integers(0, 3), st.sampled_from([*WILDCARDS, b"feed:a", b"feed:aa"])
        ),
        st.tuples(st.just("batch"), st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=6)),
        st.tuples(st.just("deliver"), st.sampled_from([None, 1, 2])),
    )
)


@given(STEPS)
def test_everybody_hears_what_a_plain_list_says(steps: list[Any]) -> None:
    """In order for each subscription, whoever joins and leaves while batches wait, and nothing twice."""
    router = Router(1000, Namespace("feed:").has_channel)
    clients = [FakeClient(encode=named) for _ in range(4)]
    joined: list[set[bytes]] = [set() for _ in clients]
    expected: list[list[bytes]] = [[] for _ in clients]
    last = unheard = 0
    for what, *args in steps:
        if what == "batch":
            router.collect([message(channel) for channel in args[0]], last + 1)
            for number, marked in enumerate(args[0], last + 1):
                channel = marked.removesuffix(b"\x00")
                before = sum(map(len, expected))
                for own, lines_ in zip(joined, expected, strict=True):
                    lines_ += [b"%b %d x" % (channel, number) for _ in own & {channel}]
                    if not channel.startswith(b"feed:$"):
                        lines_ += [
                            b"%b %d %b x" % (one, number, channel)
                            for one in own
                            if one.endswith(b"*") and channel.startswith(one[:-1])
                        ]
                unheard += sum(map(len, expected)) == before
            last += len(args[0])
        elif what == "deliver":
            router.deliver(None if args[0] is None else late_after(args[0]))
        else:
            client, channel = args
            getattr(router, what)(clients[client].subscriber, channel)
            getattr(joined[client], "add" if what == "join" else "discard")(channel)
    while router.deliver(late_after(1)):
        pass
    assert (router.received, router.unheard) == (last, unheard)
    for client, lines_ in zip(clients, expected, strict=True):
        for channel in (*WILDCARDS, b"feed:a", b"feed:aa"):
            sent = [line for line in heard(client) if line.startswith(channel + b" ")]
            assert sent == [line for line in lines_ if line.startswith(channel + b" ")]
