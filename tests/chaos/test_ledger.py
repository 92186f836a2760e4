"""The checker finds every way to break the promise, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.ledger import Gap, Ledger, Message, Receipt, Sent, Session, check


def message(sequence: int, publisher: str = "p", channel: str = "lobby") -> Message:
    """Return a message of the only channel there is."""
    return Message(channel, publisher, sequence)


def sent(*sequences: int, answered: bool = True, certain: bool = True) -> list[Sent]:
    """Return messages that were sent at the second of their number and answered half a second later."""
    return [Sent(message(n), n, n + 0.5 if answered else None, certain) for n in sequences]


def session(*sequences: int, name: str = "s", server: str = "a", joined: float = 0, whole: bool = True) -> Session:
    """Return what a subscriber received, each message 0.6 s after it was sent."""
    received = [Receipt(message(n), n + 0.6) for n in sequences]
    return Session(server, "lobby", name, joined, received, whole)


def kinds(ledger: Ledger) -> list[str]:
    """Return what is wrong."""
    return [problem.kind for problem in check(ledger).problems]


def test_all_received_in_order_is_right() -> None:
    """Nothing is found where nothing is wrong, and everything is counted."""
    verdict = check(Ledger(sent(1, 2, 3), [session(1, 2, 3), session(1, 2, 3, name="t")]))
    assert (verdict.problems, verdict.sent, verdict.received, verdict.uncertain, verdict.forgiven) == ([], 3, 6, 0, 0)


def test_duplicate_is_found() -> None:
    """Twice in one session."""
    assert kinds(Ledger(sent(1, 2), [session(1, 2, 2)])) == ["duplicate"]


def test_duplicate_over_two_sessions_is_found() -> None:
    """A subscriber that came back gets nothing again."""
    assert kinds(Ledger(sent(1, 2), [session(1, 2, whole=False), session(2, joined=3)])) == ["duplicate"]


def test_duplicate_of_an_uncertain_message_is_found() -> None:
    """It may come or not, but at most once."""
    assert kinds(Ledger(sent(1, certain=False), [session(1, 1)])) == ["duplicate"]


def test_reordered_is_found() -> None:
    """A message overtook one of the same publisher."""
    assert "reordered" in kinds(Ledger(sent(1, 2, 3), [session(1, 3, 2)]))


def test_an_unanswered_message_may_come_late() -> None:
    """Its publisher went on without an answer, so it may still have been held when the next one passed."""
    assert kinds(Ledger(sent(1, 3) + sent(2, certain=False), [session(1, 3, 2)])) == []


def test_two_orders_of_two_publishers_are_found() -> None:
    """Each session keeps each publisher's order; together they cannot have seen one stream."""
    p, q = message(1), message(1, "q")
    one = Session("a", "lobby", "s", 0, [Receipt(p, 2), Receipt(q, 2)], is_whole=True)
    other = Session("b", "lobby", "t", 0, [Receipt(q, 2), Receipt(p, 2)], is_whole=True)
    assert kinds(Ledger([Sent(p, 1, 1.5), Sent(q, 1, 1.5)], [one, other])) == ["disorder"]


def test_foreign_is_found() -> None:
    """Nobody sent what came."""
    assert kinds(Ledger(sent(1), [session(1, 7)])) == ["foreign"]


def test_message_on_a_wrong_channel_is_found() -> None:
    """It was sent, but elsewhere."""
    elsewhere = Sent(message(1, channel="other"), 1, 1.5)
    lost = Session("a", "lobby", "s", 0, [Receipt(elsewhere.message, 2)], is_whole=True)
    assert kinds(Ledger([elsewhere], [lost])) == ["misrouted"]


def test_missing_without_a_gap_is_found() -> None:
    """The one thing that must never happen."""
    assert kinds(Ledger(sent(1, 2, 3), [session(1, 3)])) == ["missing"]


@pytest.mark.parametrize(
    "gap", [Gap("a", 1.9, 2.6), Gap("a", 2.4, 9), Gap("a", 0, 2), Gap("a", 2.5, 2.5)], ids=lambda gap: f"{gap[1:]}"
)
def test_missing_inside_a_gap_is_forgiven(gap: Gap) -> None:
    """The message was on its way at a moment the server told of; it is counted."""
    verdict = check(Ledger(sent(1, 2, 3), [session(1, 3)], [gap]))
    assert (verdict.problems, verdict.forgiven) == ([], 1)


@pytest.mark.parametrize("gap", [Gap("a", 1, 1.9), Gap("a", 2.6, 9), Gap("b", 1.9, 2.6)], ids=lambda gap: f"{gap[1:]}")
def test_missing_outside_a_gap_is_found(gap: Gap) -> None:
    """Before it, after it, or in the gap of another server."""
    assert kinds(Ledger(sent(1, 2, 3), [session(1, 3)], [gap])) == ["missing"]


def test_received_inside_a_gap_is_right() -> None:
    """A gap says that messages may have been missed, not that they were."""
    assert kinds(Ledger(sent(1, 2, 3), [session(1, 2, 3)], [Gap("a", 0, 9)])) == []


def test_missing_and_uncertain_is_right() -> None:
    """Its publisher was told."""
    verdict = check(Ledger(sent(1, 3) + sent(2, certain=False), [session(1, 3)]))
    assert (verdict.problems, verdict.uncertain) == ([], 1)


def test_uncertain_message_that_one_received_is_owed_to_the_others() -> None:
    """So it was published."""
    sessions = [session(1, 2, 3), session(1, 3, name="t")]
    assert kinds(Ledger(sent(1, 3) + sent(2, certain=False), sessions)) == ["missing"]


def test_sent_before_joining_is_owed_to_nobody() -> None:
    """There is no history."""
    assert kinds(Ledger(sent(1, 2, 3), [session(3, joined=2.1)])) == []


def test_another_channel_is_owed_to_nobody() -> None:
    """Who listens here does not listen there."""
    assert kinds(Ledger([Sent(message(1, channel="other"), 1, 1.5)], [session()])) == []


def test_broken_session_is_owed_what_came_before_its_last_message() -> None:
    """Of the rest its client knows: it lost its connection."""
    assert kinds(Ledger(sent(1, 2, 3, 4), [session(1, 3, whole=False)])) == ["missing"]
    assert kinds(Ledger(sent(1, 2, 3, 4), [session(1, 2, whole=False)])) == []
    assert kinds(Ledger(sent(1, 2), [session(whole=False)])) == []


def test_unanswered_message_is_settled_by_a_later_one() -> None:
    """A WebSocket message has no answer; what came behind it shows that Redis had it by then."""
    ledger = Ledger(sent(1, 2, 3, answered=False), [session(1, 3)], [Gap("a", 3.7, 9)])
    assert kinds(ledger) == ["missing"]
    ledger.gaps = [Gap("a", 3.5, 9)]
    assert kinds(ledger) == []


def test_unanswered_message_behind_which_nothing_came_may_be_in_any_later_gap() -> None:
    """Nobody knows when Redis had it, if at all."""
    assert kinds(Ledger(sent(1, answered=False), [session()], [Gap("a", 50, 51)])) == []
    assert kinds(Ledger(sent(1, answered=False), [session()], [Gap("a", 0, 0.9)])) == ["missing"]


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.data())
def test_every_loss_of_a_clean_run_is_found(kept: list[bool], data: st.DataObject) -> None:
    """Whatever is taken out of a whole session is missing, unless a gap covers it."""
    numbers = range(1, len(kept) + 1)
    ledger = Ledger(sent(*numbers), [session(*(n for n, is_kept in zip(numbers, kept, strict=True) if is_kept))])
    assert kinds(ledger) == ["missing"] * kept.count(False)
    ledger.gaps = [Gap("a", n, n + 0.5) for n in numbers if not kept[n - 1]]
    verdict = check(ledger)
    assert (verdict.problems, verdict.forgiven) == ([], kept.count(False))
