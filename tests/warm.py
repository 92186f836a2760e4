"""A process that has imported mux, and of which commands are forked: what it costs to start is paid once."""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path

from mux.command.main import main

WARM = multiprocessing.get_context("forkserver")
WARM.set_forkserver_preload(["tests.warm", "mux.command.tail.tail", "mux.command.top.top", "mux.server"])


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
