"""A process that has imported mux, and of which commands are forked: what it costs to start is paid once."""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing import forkserver
from pathlib import Path

from mux.command.main import main

WARM = multiprocessing.get_context("forkserver")

_IMPORTED = ["tests.support.warm", "mux.command.tail.tail", "mux.command.top.top", "mux.serve.run"]


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


def become_mux(arguments: tuple[str, ...], env: dict[str, str], streams: list[Path]) -> None:
    """Run a command in this process, with files in the place of the three standard streams."""
    for number, (stream, flags) in enumerate(zip(streams, (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY), strict=True)):
        opened = os.open(stream, flags)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - multiprocessing has closed it
    sys.argv = ["mux", *arguments]
    os.environ.update(env)
    main()
