"""The table of reasons, and the page that is made from it: `python -m tests.test_reasons` writes it anew."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from mux import reasons
from mux.errors import InvalidChannel, MessageTooLarge, Refused
from mux.reasons import Reason

REASONS = {name: value for name, value in vars(reasons).items() if isinstance(value, Reason)}
PAGE = Path(reasons.__file__).parent / "endpoints" / "README.md"
HEAD = "| WebSocket | SDK | HTTP | why | come back? | counted as |\n|---|---|---|---|---|---|\n"


def table() -> str:
    """Return the table of codes as a page shows it."""
    return HEAD + "".join(f"| {' | '.join(_cells(reason))} |\n" for reason in REASONS.values())


def _cells(reason: Reason) -> Iterator[str]:
    sentence = f" {reason.sentence}" if reason.sentence else ""
    yield f"{reason.code}{sentence}" if reason.code else "" if reason.status else "cut off"
    yield f"{reason.sdk}" if reason.sdk else ""
    yield f"{reason.status}" if reason.status else ""
    yield reason.why
    yield reason.come_back
    kind = "evicted" if reason.evicts else "refused"
    yield f"`{kind}`, `{reason.counted_as}`" if reason.counted_as else ""


def test_the_page_has_the_table() -> None:
    """When this fails: python -m tests.test_reasons."""
    assert table() in PAGE.read_text()


@pytest.mark.parametrize("reason", REASONS.values(), ids=REASONS.keys())
def test_a_reason_can_be_told(reason: Reason) -> None:
    """A close frame has room for 123 bytes and needs a sentence; a status is one that answers refusals."""
    assert len(reason.sentence.encode()) <= 123
    assert reason.sentence or reason.code in (
        0,
        1002,
        1007,
        1009,
    )  # the parser says why for these
    assert reason.sdk == 0 or (3000 <= reason.sdk < 4000 and (reason.sentence or reason.evicts))
    assert reason.status == 0 or HTTPStatus(reason.status) >= HTTPStatus.BAD_REQUEST
    assert bool(reason.fields) == (reason.status in (401, 429, 503))


def test_reasons_are_told_apart_where_they_are_counted() -> None:
    """Two reasons with one label are both a request that is no HTTP/1.1."""
    labels = [reason.counted_as for reason in REASONS.values() if reason.counted_as]
    assert {label for label in labels if labels.count(label) > 1} == {"malformed"}


def test_every_reason_is_used() -> None:
    """One that nobody gives any more is deleted."""
    sources = "".join(path.read_text() for path in PAGE.parent.parent.rglob("*.py"))
    assert {name for name in REASONS if not re.search(rf"\breasons\.{name}\b", sources)} == set()


def test_an_eviction_has_neither_code_nor_status() -> None:
    """Its client does not read, so that it would not hear them."""
    evicting = {name for name, reason in REASONS.items() if reason.evicts}
    assert evicting == {"SILENT", "OVERFLOW", "UNWRITABLE", "MEMORY"}
    assert not any(REASONS[name].code or REASONS[name].status for name in evicting)


@pytest.mark.parametrize(("error", "reason"), [(InvalidChannel, reasons.CHANNEL), (MessageTooLarge, reasons.TOO_LARGE)])
def test_what_an_app_may_catch_has_its_reason(error: type[InvalidChannel | MessageTooLarge], reason: Reason) -> None:
    """With the sentence of whoever raised it."""
    raised = error("why")
    assert (raised.reason, str(raised)) == (reason, "why")


def test_a_refusal_says_its_own_sentence_or_that_of_its_reason() -> None:
    """The first, when there are figures or names to tell."""
    assert str(Refused(reasons.LEAVING)) == "the server is going away"
    assert str(Refused(reasons.ORIGIN, "not from there")) == "not from there"


if __name__ == "__main__":
    before, _, rest = PAGE.read_text().partition(HEAD)
    PAGE.write_text(before + table() + re.sub(r"\A(\|.*\n)*", "", rest))
