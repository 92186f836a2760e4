"""Up to when everything has come: what one connection proves, what two servers say, and what a gap makes of it."""

from __future__ import annotations

import pytest

from mux.broker.gap import Gap, Moment
from mux.broker.loss import Loss
from mux.broker.proof import Bus, Proof
from mux.broker.standing import OFFSETS, ROUNDING_SECONDS, Record, blame_buffer, good_before


def at(seconds: float) -> Moment:
    """Return a moment of a machine that has never slept and whose clock was never set."""
    return Moment(1_000_000 + seconds, seconds)


def test_an_answer_proves_nothing_until_a_message_comes_after_it() -> None:
    """A connection without a subscription answers for ever; the gap once began at its last answer."""
    proof = Proof(at(0))
    proof.answered(at(1), heard=5)
    assert proof.good_at(heard=5) == at(0)
    assert proof.good_at(heard=6) == at(1)
    proof.answered(at(2), heard=6)
    proof.answered(at(3), heard=6)
    proof.answered(at(4), heard=6)
    assert proof.good_at(heard=6) == at(1)
    assert proof.good_at(heard=7) == at(4)


def test_a_batch_that_turns_out_garbled_proves_nothing() -> None:
    """It is not counted as heard, and the answer in it had counted it."""
    proof = Proof(at(0))
    proof.answered(at(1), heard=8)
    assert proof.good_at(heard=5) == at(0)


@pytest.mark.parametrize(
    ("now", "since"),
    [
        pytest.param(Moment(1_000_110, 110), 1_000_100, id="nothing happened to the clock"),
        pytest.param(Moment(996_510, 110), 996_500, id="set back by an hour"),
        pytest.param(Moment(1_003_710, 110), 1_000_100, id="set forward by an hour, or asleep for it"),
    ],
)
def test_a_gap_is_never_negative_and_never_too_short(now: Moment, since: float) -> None:
    """The clock on the wall is set, and the monotonic one stands still while the machine sleeps."""
    gap = Gap.between(1, at(100), now, "closed", "closed")
    assert (gap.since, gap.until) == (since, now.wall)
    assert gap.seconds >= 10


def info(run_id: str, uptime: int = 3600, kills: int | None = None, **fields: object) -> bytes:
    """Return an answer to INFO."""
    lines: dict[str, object] = {"run_id": run_id, "uptime_in_seconds": uptime, **fields}
    if kills is not None:
        lines["client_output_buffer_limit_disconnections"] = kills
    return "".join(f"{name}:{value}\r\n" for name, value in lines.items()).encode()


def record(said: bytes, now: Moment) -> Record:
    """Return what is known of a server after its first answer."""
    return Record(said, now)


OLD = info("old", master_replid="aaa", master_replid2="0", second_repl_offset=-1)


@pytest.mark.parametrize(
    ("now", "good"),
    [
        pytest.param(info("old", master_replid="aaa"), at(90), id="the same server"),
        pytest.param(b"", at(90), id="it may not be asked"),
        pytest.param(info("new", 2), at(90), id="a server that has just been started"),
        pytest.param(
            info("new", 50), at(100 - 50 - ROUNDING_SECONDS), id="one that was started while we heard the old"
        ),
        pytest.param(info("new", 9999), at(10), id="one that was there before us"),
        pytest.param(
            info("new", 9999, master_replid="bbb", master_replid2="aaa", second_repl_offset=6001),
            at(59),
            id="a replica that was promoted",
        ),
        pytest.param(
            info("new", 9999, master_replid="bbb", master_replid2="aaa", second_repl_offset=500),
            at(10),
            id="a replica that was promoted before we came",
        ),
        pytest.param(
            info("new", 9999, master_replid="bbb", master_replid2="aaa", second_repl_offset=99_999),
            at(90),
            id="a replica that had everything",
        ),
    ],
)
def test_what_another_server_had_while_we_heard_the_old_one_is_in_the_gap(now: bytes, good: Moment) -> None:
    """After a failover the old master answers as before, for seconds or hours; what is published is elsewhere."""
    before = record(OLD, at(10))
    for second in range(10, 91):
        before.told_offset(at(second), b"role:master\r\nmaster_repl_offset:%d\r\n" % (second * 100))
    assert good_before(at(90), at(10), before, record(now, at(100))) == good


def test_what_is_kept_of_a_servers_history_is_bounded() -> None:
    """A connection may live for a year; its beginning is not forgotten."""
    one = record(OLD, at(0))
    for second in range(10 * OFFSETS):
        one.told_offset(at(second), b"master_repl_offset:%d\r\n" % second)
    assert len(one._offsets) <= OFFSETS
    assert one.last_before(1) == at(0)
    newest = one.last_before(10 * OFFSETS)
    assert newest == at(10 * OFFSETS - 1)


@pytest.mark.parametrize(
    ("loss", "before", "last", "now", "cause"),
    [
        ("closed", info("a", kills=1), 1, info("a", kills=2), "output_buffer"),
        ("error", info("a", kills=1), 1, info("a", kills=2), "output_buffer"),
        ("closed", info("a", kills=1), 2, info("a", kills=2), "closed"),
        ("closed", info("a", kills=1), 1, info("b", kills=2), "closed"),
        ("deaf", info("a", kills=1), 1, info("a", kills=2), "deaf"),
        ("closed", info("a"), None, info("a", kills=2), "closed"),
        ("closed", b"", 1, info("a", kills=2), "closed"),
    ],
)
def test_the_output_buffer_is_blamed_only_for_what_happened_since_the_last_question(
    loss: str, before: bytes, last: int | None, now: bytes, cause: str
) -> None:
    """The counter is the whole server's: it moves for others, and another server has another."""
    old = record(before, at(0))
    if last is not None:
        old.told_kills(info("a", kills=last))
    assert blame_buffer(Loss(loss, loss), old, record(now, at(9))).cause == cause


def bus_info(known: int, pings: int) -> bytes:
    """Return an answer to CLUSTER INFO."""
    return b"cluster_known_nodes:%d\r\ncluster_stats_messages_ping_received:%d\r\n" % (known, pings)


def test_a_clusters_node_proves_a_moment_by_pings_that_came_after_it() -> None:
    """Its answers, and our own messages that it gives back, say nothing of what is published on other nodes."""
    bus = Bus()
    for second, pings in enumerate((5, 6, 6, 6)):
        bus.told(at(second), bus_info(3, pings))
    assert (bus.good_at, bus.silent) == (at(0), 2)
    bus.told(at(4), bus_info(3, 7))
    assert (bus.good_at, bus.silent) == (at(3), 0)


def test_a_node_that_was_never_anything_but_alone_has_no_bus() -> None:
    """One that is alone because it was cut off proves nothing."""
    bus = Bus()
    bus.told(at(1), bus_info(1, 0))
    assert bus.good_at == at(1)
    bus.told(at(2), bus_info(2, 3))
    bus.told(at(3), bus_info(1, 3))
    assert (bus.good_at, bus.silent) == (at(1), 1)


def test_a_node_that_may_not_be_asked_proves_nothing() -> None:
    """A gap then begins with the connection."""
    bus = Bus()
    bus.told(at(1), PermissionError())
    assert bus.good_at is None
