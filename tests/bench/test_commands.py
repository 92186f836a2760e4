"""Every command, and every work, once with tiny amounts; no number is judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bench.cli import app
from bench.measure import CPU, MEMORY
from bench.results import ROOT
from bench.servers import Running
from bench.works import CASES, Case, run_case, run_limit

SECONDS = 120


def bench(*arguments: str) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(app, arguments)


def test_load_reports_everything(mux: Running, redis_url: str, tmp_path: Path) -> None:
    """A table on screen, all of it in a results file, and a picture."""
    options = ["--clients", "4", "--channels", "2", "--rate", "50", "--seconds", "0.5", "--redis-url", redis_url]
    url = f"ws://127.0.0.1:{mux.place.port}"
    done = bench("load", "--url", url, *options, "--results", str(tmp_path))
    assert done.exit_code == 0, done.stderr
    assert "p99.9" in done.stdout
    assert (tmp_path / "load.svg").stat().st_size > 5_000
    result = json.loads((tmp_path / "load.json").read_text())["result"]
    assert (result["delivered"], result["lost"], result["duplicated"], result["reordered"]) == (50, 0, 0, 0)
    for measured in (CPU, "us Redis CPU/message", MEMORY, "connects/s", "p50 ms", "p99.9 ms", "max ms"):
        assert measured in result


def test_load_publishes_through_the_server_without_redis(mux: Running, tmp_path: Path) -> None:
    """Any server can be loaded: then the clients publish."""
    url = f"ws://127.0.0.1:{mux.place.port}"
    done = bench("load", "--url", url, "--clients", "3", "--rate", "20", "--seconds", "0.5", "--results", str(tmp_path))
    assert done.exit_code == 0, done.stderr
    assert json.loads((tmp_path / "load.json").read_text())["result"]["delivered"] == 30


def test_load_stays_on_this_machine() -> None:
    """Load goes elsewhere only when the owner says so (192.0.2.1 is nobody's: RFC 5737)."""
    command = [sys.executable, "-m", "bench", "load", "--url", "ws://192.0.2.1:9"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 2
    assert "--i-own-this-host" in done.stderr


def test_load_says_when_nobody_is_there(tmp_path: Path) -> None:
    """A server that refuses is reported, with the reason, and nothing is published to nobody."""
    done = bench("load", "--url", "ws://127.0.0.1:9", "--clients", "2", "--results", str(tmp_path))
    assert done.exit_code == 2
    assert "2 clients were not served: connecting failed: Connection refused" in done.stderr


def test_compare_and_readme(tmp_path: Path) -> None:
    """Peers that are not installed are skipped with a reason; the documents' sections come from the file alone."""
    options = ["--smoke", "--rounds", "1", "--peers-dir", str(tmp_path), "--results", str(tmp_path)]
    cases = ["--case", "steady", "--case", "echo"]
    done = bench("compare", *options, *cases, "--only", "mux", "--only", "broadcaster")
    assert done.exit_code == 0, done.stderr
    assert "skipped Starlette + broadcaster: not installed" in done.stdout
    content = json.loads((tmp_path / "compare.json").read_text())
    assert content["failures"] == {}
    assert set(content["cases"]) == {"steady", "echo"}
    assert (tmp_path / "compare.svg").stat().st_size > 10_000
    (tmp_path / "bench").mkdir()
    documents = [tmp_path / "README.md", tmp_path / "bench" / "README.md"]
    for document in documents:
        document.write_text("# x\n<!-- bench: begin -->\nold\n<!-- bench: end -->\nrest\n")
    where = ["--root", str(tmp_path), "--results", str(tmp_path)]
    assert bench("readme", "--check", *where).exit_code == 2
    assert bench("readme", *where).exit_code == 0
    assert bench("readme", "--check", *where).exit_code == 0
    assert "| **mux** |" in documents[1].read_text()
    for document in documents:
        assert document.read_text().startswith("# x\n")
        assert document.read_text().endswith("rest\n")


def test_scale(tmp_path: Path) -> None:
    """Every curve is measured, fitted and drawn."""
    done = bench("scale", "--smoke", "--results", str(tmp_path))
    assert done.exit_code == 0, done.stderr
    assert len(json.loads((tmp_path / "scale.json").read_text())["curves"]) == 6
    assert (tmp_path / "scale.svg").exists()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_mux_does_the_work(case: Case, mux: Running, redis_url: str) -> None:
    """What is compared is among the figures, and where messages are sent none is lost."""
    figures = run_case(case, case.load(smoke=True), mux, redis_url)
    assert case.unit in figures
    assert all(key in figures for key in case.extra)
    assert figures.get("lost", 0.0) == figures.get("lost %", 0.0) == 0.0


@pytest.mark.parametrize("case", [case for case in CASES if case.has_limit], ids=lambda case: case.name)
def test_limit_does_the_work(case: Case) -> None:
    """A loop of send() delivers everything, and its cost is known."""
    figures = run_limit(case.load(smoke=True))
    assert figures["lost"] == 0.0
    assert figures[case.unit] > 0.0
