"""Handle the signals of `mux serve`, of its supervisor and of each of its workers.

    SIGTERM, SIGINT, SIGQUIT   the first is a graceful stop, the second ends the process at once
    SIGHUP                     new workers take the place of those that serve; it stops when its terminal was closed
    SIGUSR1, SIGUSR2           a line in the log; otherwise they would end the process

Rules:

1. The first one gives all of them back to the system before anything else. So the second needs no event loop and no
   Python: the process may be stuck in whatever it is.
2. The system does nothing to process 1 of a container by itself (pid_namespaces(7)), so there the second one ends the
   process from here.
3. SIGHUP and SIGQUIT stay ignored when whoever started the process ignored them, as nohup and a shell's & do.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
MEANINGLESS = (signal.SIGUSR1, signal.SIGUSR2)
HANDLED = (*STOPS, signal.SIGHUP, *MEANINGLESS)

_MAY_STAY_IGNORED = (signal.SIGHUP, signal.SIGQUIT)

logger = logging.getLogger("mux.serve.signals")


class Signals:
    """Handlers for as long as the block runs; only one at a time, in the main thread.

    Until on_stop() is called the first signal raises SystemExit(0): nothing is served yet, so all there is to do is
    to leave the blocks that are open.
    """

    def __init__(self) -> None:
        self._first: Callable[[], object] = _leave
        self._second: Callable[[], object] | None = None
        self._replace: Callable[[], object] | None = None
        self._received = 0
        self._had_terminal = _has_terminal()
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        for sig in HANDLED:
            handler = self._hang_up if sig is signal.SIGHUP else self._stop if sig in STOPS else self._shrug
            if sig not in _MAY_STAY_IGNORED or signal.getsignal(sig) is not signal.SIG_IGN:
                self._previous[sig] = signal.signal(sig, handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After a stop the second signal still has to end the process at once: while it closes, and after that.
        if not self._received:
            for sig, handler in self._previous.items():
                signal.signal(sig, handler)  # type: ignore[arg-type]  # it is what signal() gave

    def on_stop(self, first: Callable[[], object], second: Callable[[], object] | None = None) -> None:
        """Have functions called in the main thread, between two of its instructions.

        Args:
            first: called at the first signal; at once, if it has come already.
            second: called at the second; without one the second ends the process.
        """
        self._first, self._second = first, second
        if self._received:
            first()

    def on_replace(self, replace: Callable[[], object]) -> None:
        """Have a function called in the main thread at every SIGHUP that is no stop."""
        self._replace = replace

    def _hang_up(self, signum: int, frame: FrameType | None) -> None:
        if self._received or (self._had_terminal and not _has_terminal()):
            self._stop(signum, frame)
        elif self._replace is None:
            logger.warning("SIGHUP: nothing serves yet that could be replaced")
        else:
            self._replace()

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        self._received += 1
        is_first = self._received == 1
        if not is_first or self._second is None:
            self._give_back()
        if is_first:
            logger.info("%s: stopping; a second one ends it at once", signal.Signals(signum).name)
            self._first()
        elif self._received == 2 and self._second is not None:
            self._second()
        else:
            os._exit(128 + signum)  # process 1

    def _give_back(self) -> None:
        if os.getpid() != 1:
            for sig in (*STOPS, signal.SIGHUP):
                if sig in self._previous:
                    signal.signal(sig, signal.SIG_DFL)

    def _shrug(self, signum: int, frame: FrameType | None) -> None:
        logger.warning("%s means nothing to mux; it goes on", signal.Signals(signum).name)


def _has_terminal() -> bool:
    """Tell whether this process has a terminal that can end it; once it is closed it cannot be opened."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _leave() -> None:
    raise SystemExit(0)
