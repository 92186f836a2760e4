"""The README says what the committed results say."""

from __future__ import annotations

from bench.compare import Comparison
from bench.losses import UNEXPLAINED, losses
from bench.readme import write_section
from bench.results import RESULTS, ROOT, read
from bench.works import CPU

WRITE = "run `python -m bench readme` and commit README.md with bench/results/"


def comparison(case: str = "steady", **costs: float) -> Comparison:
    """Return one round of a work."""
    names = {"socket_io": "Socket.IO", "django": "Django Channels"}
    return Comparison(cases={case: {names.get(name, name): [{CPU: cost, "lost": 0.0}] for name, cost in costs.items()}})


def test_readme_and_results_agree() -> None:
    """No figure of the README is written by hand."""
    assert write_section(ROOT / "README.md", RESULTS, check=True), WRITE


def test_every_loss_is_explained() -> None:
    """Where mux is not first in the committed results, somebody has written why."""
    found = losses(Comparison.from_json(read(RESULTS / "compare.json")))
    assert [loss.sentence() for loss in found if UNEXPLAINED in loss.sentence()] == []


def test_where_mux_is_first_nothing_is_explained() -> None:
    """The limit is no server, and one that costs as much is not ahead."""
    assert list(losses(comparison(limit=1.0, mux=2.0, nchan=2.0))) == []


def test_a_loss_names_who_is_ahead_and_why() -> None:
    """The best first, with its ratio, and a reason for each kind of server."""
    (loss,) = losses(comparison(mux=10.0, nchan=5.0, socket_io=8.0, django=30.0))
    assert [row.name for row in loss.ahead] == ["nchan", "Socket.IO"]
    assert set(loss.reasons) == {"C", "Node"}
    assert loss.sentence().startswith("**steady**: nchan (0.50 ×): ")
    assert ". Socket.IO (0.80 ×): " in loss.sentence()


def test_who_loses_messages_is_not_ahead() -> None:
    """Less work done is not work done for less."""
    found = comparison(mux=10.0, nchan=5.0)
    found.cases["steady"]["nchan"] = [{CPU: 5.0, "lost": 7.0}]
    assert list(losses(found)) == []


def test_a_loss_without_a_reason_says_so() -> None:
    """None is made up: nobody expects Django to echo for less."""
    (loss,) = losses(comparison("echo", mux=10.0, django=5.0))
    assert loss.sentence() == f"**echo**: Django Channels (0.50 ×): {UNEXPLAINED}."
