"""python -m mux, and the command `mux`.

What is imported takes half a second, and a signal may come in it. A terminal's Ctrl-C is no traceback then, and
the first process of a container, for which the system does nothing, ends when it is told to.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Run the command line; see mux.command.main.main()."""
    _fill_descriptors()
    serves = len(sys.argv) < 2 or sys.argv[1] == "serve" or sys.argv[1].startswith("-")
    if serves:  # until mux.serve.signals takes over there is nothing to be closed
        for sig in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sig, _end_well)
    elif os.getpid() == 1:
        signal.signal(signal.SIGTERM, _end)
    try:
        from mux.command.main import main as run
    except KeyboardInterrupt:
        os._exit(130)
    run()


def _fill_descriptors() -> None:
    """Open what was closed of standard input, output and error, so that no socket gets their numbers."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _end_well(signum: int, frame: FrameType | None) -> None:
    os._exit(0)


def _end(signum: int, frame: FrameType | None) -> None:
    os._exit(128 + signum)


if __name__ == "__main__":
    main()
