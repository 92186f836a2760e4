from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mux.serve.signals import HANDLED, MEANINGLESS, STOPS, Signals
from tests.support.servers import PATIENCE_SECONDS


@pytest.fixture(autouse=True)
def _handlers_are_put_back() -> Iterator[None]:
    """Leave the signals of the test run as they were."""
    before = {sig: signal.getsignal(sig) for sig in HANDLED}
    yield
    for sig, handler in before.items():
        signal.signal(sig, handler)


@pytest.mark.parametrize("sig", STOPS)
def test_the_first_stop_is_told_and_the_second_needs_nobody(
    sig: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    """After the first one the system itself ends the process at the next, of whichever kind."""
    caplog.set_level(logging.INFO)
    told: list[str] = []
    with Signals() as signals:
        signals.on_stop(lambda: told.append("stop"))
        signal.raise_signal(sig)
        assert told == ["stop"]
        assert {signal.getsignal(other) for other in STOPS} == {signal.SIG_DFL}
    assert {signal.getsignal(other) for other in STOPS} == {signal.SIG_DFL}
    assert f"{sig.name}: stopping" in caplog.text


def test_a_supervisor_is_told_of_the_second_as_well() -> None:
    """It has workers to kill; the third one needs nobody."""
    told: list[str] = []
    with Signals() as signals:
        signals.on_stop(lambda: told.append("stop"), lambda: told.append("kill"))
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert told == ["stop", "kill"]
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("sig", STOPS)
def test_a_stop_before_anything_is_served_leaves_what_is_open(sig: signal.Signals) -> None:
    """The blocks that are open are left in order, and the status is 0."""
    with pytest.raises(SystemExit) as left, Signals():
        signal.raise_signal(sig)
    assert left.value.code == 0


def test_a_stop_that_came_before_is_told_at_once() -> None:
    """One that something has swallowed is not lost."""
    told: list[str] = []
    with Signals() as signals:
        with pytest.raises(SystemExit):
            signal.raise_signal(signal.SIGTERM)
        signals.on_stop(lambda: told.append("stop"))
    assert told == ["stop"]


@pytest.mark.parametrize("sig", MEANINGLESS)
def test_a_signal_without_a_meaning_ends_nothing(sig: signal.Signals, caplog: pytest.LogCaptureFixture) -> None:
    """Other servers open their log anew at it; here there is a line, and the server goes on."""
    with Signals() as signals:
        signals.on_stop(lambda: pytest.fail("it is no stop"))
        signal.raise_signal(sig)
    assert f"{sig.name} means nothing to mux" in caplog.text


def test_hanging_up_replaces_again_and_again_until_a_stop(caplog: pytest.LogCaptureFixture) -> None:
    """Before anything serves it is a line in the log; after a stop it ends the process like any second signal."""
    told: list[str] = []
    with Signals() as signals:
        signal.raise_signal(signal.SIGHUP)
        assert "nothing serves yet" in caplog.text
        signals.on_replace(lambda: told.append("replace"))
        signals.on_stop(lambda: told.append("stop"))
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGTERM)
        assert told == ["replace", "replace", "stop"]
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


def test_what_nohup_ignores_stays_ignored() -> None:
    """And so does what a shell without jobs ignores for a command in the background."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Signals() as signals:
        signals.on_stop(lambda: pytest.fail("nobody is to notice"))
        signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


STUCK = r"""
import os
import uvloop
from mux.serve.signals import Signals
async def hold():
    while True:
        pass
with Signals() as signals:
    signals.on_stop(lambda: os.write(1, b"told\n"))
    os.write(1, b"holding\n")
    uvloop.run(hold())
"""


def test_the_second_stop_ends_a_process_whose_loop_is_stuck() -> None:
    """Where the loop would have to handle it, nothing but SIGKILL would end the process."""
    with subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "holding\n"
        process.terminate()
        assert process.stdout.readline() == "told\n"
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == -signal.SIGTERM


def _catches(pid: int, sig: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(status.partition("SigCgt:")[2].split()[0], 16) >> (sig - 1) & 1)


def _child(pid: int) -> int:
    """Return the only child of a process, when it has become Python."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if children and b"mux" in Path(f"/proc/{children[0]}/cmdline").read_bytes():
            return int(children[0])
    raise AssertionError("there is none")


MAY_BE_PID_1 = not subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True, check=False).returncode


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("is_pid_1", [False, pytest.param(True, marks=pytest.mark.skipif(not MAY_BE_PID_1, reason=""))])
def test_a_stop_in_the_first_moments_is_not_lost(is_pid_1: bool, sig: signal.Signals) -> None:
    """While modules are imported a stop ends the process well, as the first process of a container too."""
    command = [
        *(["unshare", "--pid", "--fork"] if is_pid_1 else []),
        sys.executable,
        "-m",
        "mux",
        "serve",
        "--port",
        "0",
    ]
    # Measuring coverage would set a handler of its own, before the first line of ours.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment) as process:
        assert process.stdout is not None
        pid = _child(process.pid) if is_pid_1 else process.pid
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not _catches(pid, signal.SIGTERM):
            assert time.monotonic() < deadline
        assert not select.select((process.stdout,), (), (), 0)[0], "it serves already: these are not the first moments"
        os.kill(pid, sig)
        assert process.wait(PATIENCE_SECONDS) == 0
        assert process.stdout.read() == b""
