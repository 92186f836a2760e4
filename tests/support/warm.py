"""A process that has imported mux, and of which commands and servers are forked: the import is paid for once."""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Timer

import mux.__main__

WARM = multiprocessing.get_context("forkserver")

_IMPORTED = ["tests.support.warm", "mux.command.main", "mux.command.tail.tail", "mux.command.top.top", "mux.serve.run"]


def import_beforehand() -> None:
    """Have the process import what commands need, beside whatever else is forked from it needs.

    There is one for all contexts, and the last who says what it imports is the one who is heard: where the load
    generator was imported after this module, every command imported mux anew.
    """
    others: list[str] = forkserver._forkserver._preload_modules  # type: ignore[attr-defined]  # no public way to ask
    WARM.set_forkserver_preload(list(dict.fromkeys([*_IMPORTED, *others])))


def end() -> None:
    """End the process, so that what was measured in it is whole before it is read."""
    forkserver._forkserver._stop()  # type: ignore[attr-defined]  # there is no public way


class Forked:
    """A command of mux in a process of its own, with the methods of a Popen that tests use.

    Args:
        arguments: the command line, without the name of the program.
        env: variables in place of those of the tests, or beside them.
        descriptors: as many may be open; None leaves the limit as it is.
    """

    def __init__(self, arguments: tuple[str, ...], env: dict[str, str], descriptors: int | None) -> None:
        said, says = WARM.Pipe(duplex=False)
        with said, says:
            self._process = WARM.Process(target=_become_server, args=(arguments, os.environ | env, says, descriptors))
            self._process.start()
            self.stdout = os.fdopen(os.dup(said.fileno()))
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, or the number of the signal that ended it, less than 0; None while it runs."""
        return self._process.exitcode

    def send_signal(self, sig: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, sig)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def wait(self, seconds: float) -> int:
        """Wait for its end and return its exit status.

        Raises:
            TimeoutExpired: it goes on.
        """
        self._process.join(seconds)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("mux", seconds)
        return self._process.exitcode

    def communicate(self, seconds: float) -> str:
        """Return all it says until it has ended; if it does not, it is killed."""
        late = Timer(seconds, self.kill)
        late.start()
        said = self.stdout.read()
        late.cancel()
        self.wait(seconds)
        return said


def _become_server(
    arguments: tuple[str, ...], environment: dict[str, str], says: Connection, descriptors: int | None
) -> None:
    """Run a command in this process, as `python -m mux` does; it says everything to one pipe."""
    for stream in (1, 2):
        os.dup2(says.fileno(), stream)
    says.close()
    if descriptors is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    os.environ.clear()
    _run(arguments, environment)


def become_mux(arguments: tuple[str, ...], env: dict[str, str], streams: list[Path]) -> None:
    """Run a command in this process, with files in the place of the three standard streams."""
    for number, (stream, flags) in enumerate(zip(streams, (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY), strict=True)):
        opened = os.open(stream, flags)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - multiprocessing has closed it
    _run(arguments, env)


def _run(arguments: tuple[str, ...], env: dict[str, str]) -> None:
    sys.argv = ["mux", *arguments]
    sys.modules["__main__"] = mux.__main__  # workers import what their supervisor was started as
    os.environ.update(env)
    try:
        mux.__main__.main()
    finally:
        logging.shutdown()  # a process that is forked ends without what is registered for the end of one
