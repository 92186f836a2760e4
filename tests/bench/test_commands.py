"""Every command and every suite, once, with tiny amounts; no number is judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.peers.registry import MUX
from bench.results import ROOT
from bench.servers import redis_server, serving

SECONDS = 120


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m bench`."""
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)


def test_load_reports_everything(tmp_path: Path) -> None:
    """A table on screen, and all of it in a results file."""
    with redis_server() as redis_url, serving(MUX, redis_url, tmp_path) as server:
        options = ["--clients", "4", "--channels", "2", "--rate", "50", "--seconds", "0.5", "--redis-url", redis_url]
        url = f"ws://127.0.0.1:{server.place.port}"
        done = bench("load", "--url", url, *options, "--results", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "p99.9" in done.stdout
    result = json.loads((tmp_path / "load.json").read_text())["result"]
    assert (result["delivered"], result["lost"], result["duplicated"], result["reordered"]) == (50, 0, 0, 0)
    for measured in ("cpu_us", "redis_cpu_us", "rss_bytes_each", "connects_per_second", "latency_ms"):
        assert result[measured] is not None


def test_load_publishes_through_the_server_without_redis(tmp_path: Path) -> None:
    """Any server can be loaded: then the clients publish."""
    with redis_server() as redis_url, serving(MUX, redis_url, tmp_path) as server:
        url = f"ws://127.0.0.1:{server.place.port}"
        done = bench(
            "load", "--url", url, "--clients", "3", "--rate", "20", "--seconds", "0.5", "--results", str(tmp_path)
        )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "load.json").read_text())["result"]["delivered"] == 30


def test_load_stays_on_this_machine() -> None:
    """Load goes elsewhere only when the owner says so (192.0.2.1 is nobody's: RFC 5737)."""
    done = bench("load", "--url", "ws://192.0.2.1:9")
    assert done.returncode == 2
    assert "--i-own-this-host" in done.stderr


def test_load_says_when_nobody_is_there(tmp_path: Path) -> None:
    """A server that refuses is reported, with the reason."""
    done = bench("load", "--url", "ws://127.0.0.1:9", "--clients", "2", "--rate", "0", "--results", str(tmp_path))
    assert done.returncode == 2
    assert "2 clients were not served" in done.stderr


def test_compare_and_readme(tmp_path: Path) -> None:
    """Without any peer installed mux is compared with the baselines, and the others are skipped with a reason."""
    options = ["--smoke", "--rounds", "1", "--peers-dir", str(tmp_path), "--results", str(tmp_path)]
    done = bench("compare", *options, "--only", "mux", "--only", "broadcaster")
    assert done.returncode == 0, done.stderr
    assert "skipped Starlette + broadcaster: not installed" in done.stdout
    assert json.loads((tmp_path / "compare.json").read_text())["failures"] == {}
    assert (tmp_path / "compare.png").stat().st_size > 10_000
    readme = tmp_path / "README.md"
    readme.write_text("# x\n<!-- bench: begin -->\nold\n<!-- bench: end -->\nrest\n")
    where = ["--path", str(readme), "--results", str(tmp_path)]
    assert bench("readme", "--check", *where).returncode == 2
    assert bench("readme", *where).returncode == 0
    assert bench("readme", "--check", *where).returncode == 0
    text = readme.read_text()
    assert "| **mux** |" in text
    assert text.startswith("# x\n")
    assert text.endswith("rest\n")


def test_scale(tmp_path: Path) -> None:
    """Every curve is measured, fitted and drawn."""
    done = bench("scale", "--smoke", "--results", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert len(json.loads((tmp_path / "scale.json").read_text())["curves"]) == 6
    assert (tmp_path / "scale.svg").exists()


@pytest.mark.timeout(SECONDS + 10)
def test_suites_run_once(tmp_path: Path) -> None:
    """The pytest-benchmark suites, with JSON as their users expect it."""
    path = tmp_path / "run.json"
    command = [sys.executable, "-m", "pytest", "-c", "bench/pytest.ini", "bench", "--smoke", f"--benchmark-json={path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert json.loads(path.read_text())["benchmarks"]
