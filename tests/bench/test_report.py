"""What is made of the figures, and that the documents say what the committed results say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.compare import Comparison, Rounds
from bench.measure import CPU
from bench.plots import plot_comparison
from bench.report import UNEXPLAINED, losses, markdown, rows, write_documents
from bench.results import RESULTS, ROOT
from bench.scale import Curve
from bench.servers import find_server
from bench.works import STEADY, unheard_us

WRITE = "run `python -m bench readme` and commit both documents with bench/results/"


def comparison(case: str = "steady", **costs: float) -> Comparison:
    """Return one round of a work."""
    names = {"socket_io": "Socket.IO", "django": "Django Channels"}
    return Comparison(cases={case: {names.get(name, name): [{CPU: cost, "lost": 0.0}] for name, cost in costs.items()}})


def test_documents_and_results_agree() -> None:
    """No figure of the documents' sections is written by hand."""
    assert write_documents(ROOT, RESULTS, check=True) == [], WRITE


def test_every_loss_is_explained() -> None:
    """Where mux is not first in the committed results, somebody has written why."""
    found = list(losses(Comparison.from_json(json.loads((RESULTS / "compare.json").read_text()))))
    assert found
    assert [sentence for sentence in found if UNEXPLAINED in sentence] == []


def test_a_document_without_markers_is_refused(tmp_path: Path) -> None:
    """Nothing is overwritten by guess."""
    path = tmp_path / "README.md"
    path.write_text("# mine\n")
    with pytest.raises(ValueError, match="needs the lines"):
        write_documents(tmp_path, RESULTS, check=False)
    assert path.read_text() == "# mine\n"


def test_where_mux_is_first_nothing_is_explained() -> None:
    """The limit is no server, and one that costs as much is not ahead."""
    assert list(losses(comparison(limit=1.0, mux=2.0, nchan=2.0))) == []


def test_a_loss_names_who_is_ahead_and_why() -> None:
    """The best first, with its ratio, and a reason for each kind of server; none is made up where there is none."""
    (loss,) = losses(comparison(mux=10.0, nchan=5.0, socket_io=8.0, django=30.0))
    assert loss.startswith("**steady**: nchan (0.50 ×): ")
    assert ". Socket.IO (0.80 ×): " in loss
    assert "Django" not in loss
    (loss,) = losses(comparison("echo", mux=10.0, django=5.0))
    assert loss == f"**echo**: Django Channels (0.50 ×): {UNEXPLAINED}."


def test_a_server_that_loses_messages_is_not_ahead() -> None:
    """Less work done is not work done for less."""
    found = comparison(mux=10.0, nchan=5.0)
    found.cases["steady"]["nchan"] = [{CPU: 5.0, "lost": 7.0}]
    assert list(losses(found)) == []


def test_ratios_are_paired_within_a_round() -> None:
    """A minute in which everything took twice as long changes no ratio."""
    results: dict[str, Rounds] = {
        "limit": [{CPU: 1.0}, {CPU: 2.0}],
        "mux": [{CPU: 2.0, "lost": 0.0}, {CPU: 4.0, "lost": 0.0}],
        "slow": [{CPU: 6.0, "lost": 1.0}, {CPU: 12.0, "lost": 3.0}],
    }
    found = {row.name: row for row in rows(Comparison(cases={"steady": results}), STEADY)}
    slow, mux = found["slow"], found["mux"]
    assert slow.value is not None
    assert slow.to_mux is not None
    assert mux.to_limit is not None
    assert (slow.value.median, slow.value.least, slow.value.most) == (9.0, 6.0, 12.0)
    assert (slow.to_mux.least, slow.to_mux.most) == (3.0, 3.0)
    assert mux.to_limit.median == 2.0
    assert slow.lost == 2.0


def test_a_failed_round_is_left_out_and_a_failed_server_is_last() -> None:
    """None is no zero."""
    results: dict[str, Rounds] = {"mux": [{CPU: 2.0}, {CPU: 2.0}], "a": [None, {CPU: 1.0}], "b": [None, None]}
    found = rows(Comparison(cases={"steady": results}), STEADY)
    assert [row.name for row in found] == ["a", "mux", "b"]
    assert found[0].to_mux is not None
    assert found[0].to_mux.median == 0.5
    assert found[-1].value is None


def test_a_failure_is_told_in_its_cell(tmp_path: Path) -> None:
    """A table says that there is no figure, and so does a plot; the reason is in the results file."""
    found = Comparison(
        peers={"mux": {"published": "raw PUBLISH"}, "b": {"published": "raw PUBLISH"}},
        cases={"steady": {"mux": [{CPU: 2.0, "lost": 0.0}], "b": [None]}},
        failures={"steady: b": "7 of 9 clients were not served: HTTP/1.1 503"},
    )
    assert "| b | failed |" in "\n".join(markdown(found))
    made = {"versions": {}, "commit": "c", "date": "2000-01-01", "cpus": 1, "cpu": "x", "system": "y", "command": "z"}
    picture = plot_comparison(found, made, tmp_path)
    assert picture is not None
    assert ">failed</text>" in picture.read_text()


def test_a_server_that_cannot_do_a_work_is_not_asked_again() -> None:
    """A tenth lost, or a failure, is enough; one message in a hundred is not."""
    tried: dict[str, Rounds] = {"a": [{CPU: 1.0, "lost %": 10.0}], "b": [None], "c": [{CPU: 1.0, "lost %": 1.0}]}
    found = Comparison(cases={"steady": tried})
    assert [name for name in "abcd" if found.is_hopeless("steady", name)] == ["a", "b"]


def test_each_further_process_adds_its_share() -> None:
    """Three further processes add 6 us in all."""
    assert unheard_us({1: 10.0, 2: 12.0, 4: 16.0}) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("kind", "y", "fit", "bends"),
    [
        ("shared", [130 / x + 7 for x in (1, 10, 100, 1000)], (130.0, 7.0), True),
        ("linear", [5 + 2 * x for x in (1, 10, 100, 1000)], (5.0, 2.0), True),
        ("power", [3 * x**2 for x in (1, 10, 100, 1000)], (3.0, 2.0), False),
    ],
)
def test_laws_find_what_is_shared_and_what_each_costs(
    kind: str, y: list[float], fit: tuple[float, float], bends: bool
) -> None:
    """Each law is found from figures that obey it, and only a straight line in logarithms does not bend."""
    curve = Curve(name="a", title="A", x_label="x", y_label="y", x=[1, 10, 100, 1000], y=y, why="", kind=kind)
    assert curve.fit == pytest.approx(fit)
    assert curve.fitted(10.0) == pytest.approx(y[1])
    assert curve.bends is bends
    assert curve.as_json()["slope"] == pytest.approx(fit[1])


def test_nobody_listens_on_a_free_port() -> None:
    """A server that cannot be seen is None, not an empty tree."""
    assert find_server(9) is None
