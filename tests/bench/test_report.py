"""What is made of the figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.compare import Comparison, Rounds
from bench.curve import Curve
from bench.disjoint import unheard_us
from bench.loadgen.course import Course
from bench.meters import find_server
from bench.plots.compare import plot_comparison
from bench.readme import write_section
from bench.summary import rows
from bench.tables import markdown
from bench.works import CASES, CPU

STEADY = next(case for case in CASES if case.name == "steady")


def test_ratios_are_paired_within_a_round() -> None:
    """A minute in which everything took twice as long changes no ratio."""
    comparison = Comparison(
        cases={
            "steady": {
                "limit": [{CPU: 1.0}, {CPU: 2.0}],
                "mux": [{CPU: 2.0, "lost": 0.0}, {CPU: 4.0, "lost": 0.0}],
                "slow": [{CPU: 6.0, "lost": 1.0}, {CPU: 12.0, "lost": 3.0}],
            }
        }
    )
    found = {row.name: row for row in rows(comparison, STEADY)}
    slow = found["slow"]
    assert slow.value is not None
    assert slow.to_mux is not None
    assert (slow.value.median, slow.value.least, slow.value.most) == (9.0, 6.0, 12.0)
    assert (slow.to_mux.least, slow.to_mux.most) == (3.0, 3.0)
    assert found["mux"].to_limit is not None
    assert found["mux"].to_limit.median == 2.0
    assert slow.lost == 2.0


def test_a_failed_round_is_left_out_and_a_failed_server_is_last() -> None:
    """None is no zero."""
    comparison = Comparison(
        cases={"steady": {"mux": [{CPU: 2.0}, {CPU: 2.0}], "a": [None, {CPU: 1.0}], "b": [None, None]}}
    )
    found = rows(comparison, STEADY)
    assert [row.name for row in found] == ["a", "mux", "b"]
    assert found[0].to_mux is not None
    assert found[0].to_mux.median == 0.5
    assert found[-1].value is None


def test_unheard_messages_are_what_each_process_adds() -> None:
    """Three further processes add 6 us in all."""
    key = "us CPU/message"
    assert unheard_us({1: {key: 10.0}, 2: {key: 12.0}, 4: {key: 16.0}}) == pytest.approx(2.0)


def test_slope_is_that_of_the_law() -> None:
    """A square has slope 2 and does not bend; a flat line that turns into a square does."""
    xs = [1.0, 2.0, 4.0, 8.0, 16.0]
    square = Curve(name="a", title="A", x_label="x", y_label="y", x=xs, y=[x * x for x in xs], why="never")
    assert square.slope == pytest.approx(2.0)
    assert not square.bends
    assert "never" not in square.sentence()
    bent = Curve(name="b", title="B", x_label="x", y_label="y", x=xs, y=[1, 1, 1, 4, 16], why="a reason")
    assert bent.bends
    assert "a reason" in bent.sentence()


def test_laws_find_what_is_shared_and_what_each_costs() -> None:
    """130 us a message and 7 us a subscriber; 5 us and 2 us a process."""
    xs = [1.0, 10.0, 100.0, 1000.0]
    shared = Curve(
        name="a", title="A", x_label="x", y_label="y", x=xs, y=[130 / x + 7 for x in xs], why="", kind="shared"
    )
    assert shared.fit == pytest.approx((130.0, 7.0))
    linear = Curve(
        name="b", title="B", x_label="x", y_label="y", x=xs, y=[5 + 2 * x for x in xs], why="", kind="linear"
    )
    assert linear.fit == pytest.approx((5.0, 2.0))
    assert linear.fitted(3.0) == pytest.approx(11.0)


def test_readme_without_markers_is_refused(tmp_path: Path) -> None:
    """Nothing is overwritten by guess."""
    path = tmp_path / "README.md"
    path.write_text("# mine\n")
    (tmp_path / "compare.json").write_text("{}")
    with pytest.raises(ValueError, match="needs the lines"):
        write_section(path, tmp_path, check=False)
    assert path.read_text() == "# mine\n"


def test_nobody_listens_on_a_free_port() -> None:
    """A server that cannot be seen is None, not an empty tree."""
    assert find_server(9) is None


def test_who_cannot_do_a_work_is_not_asked_again() -> None:
    """A tenth lost, or a failure, is enough; one message in a hundred is not."""
    tried: dict[str, Rounds] = {"a": [{CPU: 1.0, "lost %": 10.0}], "b": [None], "c": [{CPU: 1.0, "lost %": 1.0}]}
    comparison = Comparison(cases={"steady": tried})
    assert [name for name in "abcd" if comparison.is_hopeless("steady", name)] == ["a", "b"]


def test_a_failure_is_told_in_its_cell(tmp_path: Path) -> None:
    """A table has the reason where the figure would be, cut to the size of a cell; a plot names who failed."""
    comparison = Comparison(
        peers={"mux": {"published": "raw PUBLISH"}, "b": {"published": "raw PUBLISH"}},
        cases={"steady": {"mux": [{CPU: 2.0, "lost": 0.0}], "b": [None]}},
        failures={"steady: b": "7 of 9 clients were not served: HTTP/1.1 503 | " + "x" * 100},
    )
    text = "\n".join(markdown(comparison))
    assert "| b | failed: 7 of 9 clients were not served: HTTP/1.1 503 / … |" in text
    made = {"versions": {}, "commit": "c", "date": "2000-01-01", "cpus": 1, "cpu": "x", "system": "y", "command": "z"}
    _, svg = plot_comparison(comparison, made, tmp_path)
    assert ">failed</text>" in svg.read_text()


def test_course_tells_what_came_between_two_looks() -> None:
    """Not what came since the start; and what is told too soon waits for the next."""
    course = Course(1_000_000)
    for at_us, delivered in ((1_500_000, 50), (1_600_000, 60), (2_000_000, 100)):
        counts = np.zeros(5000, dtype=np.int64)
        counts[10], counts[40] = 50, delivered - 50
        course.take(at_us, delivered, counts)
    assert [(moment.seconds, moment.delivered_per_second) for moment in course.moments] == [(0.5, 100.0), (1.0, 100.0)]
    assert [moment.p99_us for moment in course.moments] == [10, 40]
