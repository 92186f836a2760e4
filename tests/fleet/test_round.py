"""The answers to one question, in a fleet that is larger than any that can be started here."""

from __future__ import annotations

import pytest

from mux.fleet import round as round_module
from mux.fleet.messages import NO_ANSWER
from mux.fleet.round import Round

ME, KNOWN, LATER = "0" * 32, "1" * 32, "2" * 32


async def test_a_round_is_over_when_all_have_answered() -> None:
    """Also those that have no answer, which are left out."""
    round_ = Round({ME, KNOWN, LATER})
    for id_, body in ((ME, b"0"), (LATER, NO_ANSWER), (KNOWN, b"1")):
        assert not round_.over.done()
        round_.take(id_, body)
    assert round_.over.done()
    assert round_.answers == {ME: b"0", KNOWN: b"1"}


async def test_answers_are_kept_while_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand forged processes could fill the memory with long answers; those that do not fit are missing."""
    monkeypatch.setattr(round_module, "MAX_KEPT_BYTES", 1000)
    round_ = Round({str(number) for number in range(20)})
    for number in range(20):
        round_.take(str(number), b"x" * 100)
    assert len(round_.answers) == 10
    assert round_.over.done()


@pytest.mark.parametrize(("limit", "value"), [("MAX_STRANGERS_BYTES", 12), ("MAX_STRANGERS", 2)])
async def test_each_process_answers_once(monkeypatch: pytest.MonkeyPatch, limit: str, value: int) -> None:
    """A second answer is dropped; of strangers a little is kept, which takes nothing from those that are known."""
    monkeypatch.setattr(round_module, limit, value)
    round_ = Round({ME, KNOWN, LATER})
    for sender in (KNOWN, ME, "a" * 32, "b" * 32, "c" * 32):
        round_.take(sender, b"first!")
        round_.take(sender, b"second")
    assert not round_.over.done()
    round_.take(LATER, b"2")
    kept = {KNOWN: b"first!", ME: b"first!", "a" * 32: b"first!", "b" * 32: b"first!", LATER: b"2"}
    assert round_.answers == kept
