"""The blocks that an operator copies: a systemd unit, a Dockerfile, a compose file, what Prometheus reads; the CI."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from mux.metrics.catalogue import METRICS
from mux.serve.embedded import find_server
from mux.settings.misspelt import unknown_variables
from mux.settings.settings import Settings
from tests.support.pages import OPERATING, ROOT, block
from tests.support.servers import PATIENCE_SECONDS, mux_serve, run_mux

SYSTEMD_ANALYZE = shutil.which("systemd-analyze")

DEFAULT_DRAIN_SECONDS = Settings().drain_seconds

KINDS = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
"""What Prometheus adds to the name of a metric, by its kind."""


def assert_accepted(environment: Mapping[str, Any]) -> None:
    """Hold variables of a block to what mux reads."""
    own = {name: str(value) for name, value in environment.items() if name.startswith("MUX_")}
    assert unknown_variables(own) == []
    Settings.load(environ=own)


def assert_options_exist(command: list[str]) -> None:
    """Hold the options of a command line to what `mux serve` takes."""
    known = set(re.findall(r"--[a-z][a-z-]+", run_mux("serve", "--help").stdout))
    assert {word for word in command if word.startswith("--")} <= known


@pytest.fixture
def unit() -> str:
    """Return the unit of the page."""
    return block(OPERATING, "[Unit]")


def test_the_unit_starts_reloads_and_stops_mux(unit: str) -> None:
    """systemd waits for a drain, and the number of descriptors is that of the page's sizing."""
    read = configparser.ConfigParser(interpolation=None)
    read.optionxform = str  # type: ignore[assignment,method-assign]  # keys keep their case, as typeshed cannot say
    read.read_string(unit)
    service = read["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    assert Path(program).name == "mux"
    assert arguments[0] == "serve"
    assert_options_exist(arguments)
    assert service["ExecReload"] == "kill -HUP $MAINPID"
    assert float(service["TimeoutStopSec"]) >= DEFAULT_DRAIN_SECONDS + 10
    assert int(service["LimitNOFILE"]) > 10_000 + 64


@pytest.mark.skipif(SYSTEMD_ANALYZE is None, reason="no systemd on this machine")
def test_systemd_knows_every_line_of_the_unit(unit: str, tmp_path: Path) -> None:
    """systemd-analyze prints a line for each key or value that it does not know."""
    assert SYSTEMD_ANALYZE is not None
    file = tmp_path / "mux.service"
    file.write_text(unit.replace("/opt/mux/bin/mux", sys.executable))
    said = subprocess.run(
        [SYSTEMD_ANALYZE, "verify", "--man=no", str(file)], capture_output=True, text=True, check=False
    )
    assert [line for line in said.stderr.splitlines() if "mux.service" in line] == []


@pytest.fixture
def dockerfile() -> list[tuple[str, str]]:
    """Return the instructions of the page's Dockerfile, each as its word and the rest."""
    text = block(OPERATING, "FROM ").replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in text.splitlines())]


def test_the_image_runs_a_command_of_mux(dockerfile: list[tuple[str, str]]) -> None:
    """On a Python that mux supports, with variables that mux reads, as a user without rights."""
    words = dict(dockerfile)
    assert set(words) <= {"FROM", "COPY", "RUN", "USER", "ENV", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
    python = re.fullmatch(r"python:(3\.\d+)-slim", words["FROM"])
    assert python is not None
    assert python[1] in supported_pythons()
    assert_accepted(dict(pair.split("=", 1) for pair in words["ENV"].split()))
    command = [*json.loads(words["ENTRYPOINT"]), *json.loads(words["CMD"])]
    assert command[:2] == ["mux", "serve"]
    assert int(words["EXPOSE"]) == Settings().port
    assert words["USER"] != "root"


def test_the_health_check_of_the_image_tells_a_server_from_none(dockerfile: list[tuple[str, str]]) -> None:
    """It ends with 0 while a server answers, and with something else when there is none."""
    options, _, command = dict(dockerfile)["HEALTHCHECK"].partition("CMD ")
    assert set(re.findall(r"--[a-z-]+", options)) <= {"--interval", "--timeout", "--start-period", "--retries"}
    program, *arguments = json.loads(command)
    assert program == "python"

    def ends_with() -> int:
        own = [argument.replace(":8000/", f":{port}/") for argument in arguments]
        return subprocess.run([sys.executable, *own], capture_output=True, check=False).returncode

    with mux_serve("--no-announce") as server:
        port = server.port
        assert ends_with() == 0
    assert ends_with() != 0


@pytest.fixture
def compose() -> dict[str, Any]:
    """Return the compose file of the page."""
    read: dict[str, Any] = yaml.safe_load(block(OPERATING, "services:"))
    return read


def test_the_compose_file_fits_together(compose: dict[str, Any]) -> None:
    """mux waits until its Redis is healthy, reaches it by its name, and has time to say goodbye."""
    services = compose["services"]
    own = services["mux"]
    assert_accepted(own["environment"])
    host = re.fullmatch(r"redis://(\w+):6379", own["environment"]["MUX_REDIS_URL"])
    assert host is not None
    assert own["depends_on"] == {host[1]: {"condition": "service_healthy"}}
    assert "healthcheck" in services[host[1]]
    assert int(own["stop_grace_period"].removesuffix("s")) >= DEFAULT_DRAIN_SECONDS + 10
    (port,) = own["ports"]
    assert int(port.rpartition(":")[2]) == Settings().port


def test_the_redis_of_the_compose_file_starts_and_is_healthy(compose: dict[str, Any], tmp_path: Path) -> None:
    """Its options are known to the server, and the buffer of subscribers is as the page says."""
    service = compose["services"]["redis"]
    program, *options = shlex.split(service["command"])
    assert program == "redis-server"
    assert service["healthcheck"]["test"] == ["CMD", "redis-cli", "ping"]
    path = tmp_path / "redis.sock"
    server = subprocess.Popen(
        [find_server(), *options, "--port", "0", "--unixsocket", str(path), "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
    )
    try:
        retry = Retry(ConstantBackoff(0.05), int(PATIENCE_SECONDS / 0.05))
        with redis.Redis(unix_socket_path=str(path), retry=retry) as client:
            assert client.ping()
            limits = str(client.config_get("client-output-buffer-limit"))
            assert "pubsub 134217728 33554432 60" in limits
    finally:
        server.terminate()
        server.wait(PATIENCE_SECONDS)


def test_alerts_read_metrics_and_labels_that_exist() -> None:
    """Each rule has a name, an expression and known metrics."""
    exposed = {metric.name + end for metric in METRICS for end in KINDS[metric.kind]}
    (group,) = yaml.safe_load(block(OPERATING, "groups:"))["groups"]
    assert len({rule["alert"] for rule in group["rules"]}) == len(group["rules"]) > 4
    for rule in group["rules"]:
        named = set(re.findall(r"\bmux_\w+", rule["expr"]))
        assert named <= exposed, rule["alert"]
        assert named or "up{" in rule["expr"]
    labels = {metric.label for metric in METRICS} | {"instance", "le", "job"}
    assert set(re.findall(r'(\w+)=~?"', str(group))) <= labels


def test_prometheus_sends_the_token_from_a_file() -> None:
    """The token is not in the configuration, which more people read."""
    (job,) = yaml.safe_load(block(OPERATING, "scrape_configs:"))["scrape_configs"]
    assert set(job["authorization"]) == {"credentials_file"}
    assert job["job_name"] == "mux"


def supported_pythons() -> list[str]:
    """Return the versions of Python that the package says it supports."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = [re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line) for line in project["classifiers"]]
    return [match[1] for match in found if match is not None]


def test_the_workflow_runs_the_tests_on_every_python() -> None:
    """The matrix is that of the package, and each job runs what runs here."""
    (file,) = (ROOT / ".github/workflows").iterdir()
    workflow = yaml.safe_load(file.read_text())
    (job,) = workflow["jobs"].values()
    assert job["strategy"]["matrix"]["python"] == supported_pythons()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands[-1] == ".ci/run"
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
    envs = re.findall(r"py3\d+", (ROOT / "tox.ini").read_text())
    assert envs == [f"py{version.replace('.', '')}" for version in supported_pythons()]
