"""Keep the passes of Python's cyclic collector short, however many clients there are.

A full pass looks at everything that is alive, about a microsecond each, and nobody is served meanwhile: with
18,000 clients it is a tenth of a second. But what a connection needs goes when the connection goes, by its reference
count; nothing of it ever waits for the collector (tests/server/test_cycles.py). So what stays is set aside
(gc.freeze()), and the next full pass looks only at what has come since.

1. What a full pass has just found alive may be in use for a moment only, and when it is a cycle, and aside, it stays
   for ever. So nothing is set aside until there is enough to make passes long: where as many clients leave as come,
   there never is, and each pass looks again at what the one before has left.
2. What was set aside can still become garbage later. So when there is more aside than the program and its clients
   account for, the next pass looks at everything again: a leak is bounded, and a pass is long only where there is one.
3. This changes the collector of the whole process, so it is for `mux serve`, and never for somebody's app.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

THRESHOLDS = (5000, 0, 0)
"""New objects until a young pass, young passes until an older one, older ones until a full one (gc.set_threshold()).
Python has 700, 10 and 10. A batch of messages is thousands of objects that all go with it, and more than 700 would
have every one of them looked at, some twice. The others are as small as they can be: a full pass here has only the
newest 15,000 to look at, some 2,500 clients, and what was not set aside, and takes milliseconds."""

ENOUGH = 5000
"""Objects that a full pass leaves are set aside from this number on. A million requests that come one after the other
leave a few hundred."""

GROWTH = 2.0
"""The objects that are set aside may grow to this multiple, clients not counted, before all are looked at again. The
program alone is 100,000 objects."""

OBJECTS_PER_CLIENT = 16
"""Most objects that belong to a client; a client that says nothing has six."""


class Collector:
    """Python's collector, as long as a server runs.

    Args:
        clients: tells how many there are.
        growth: see GROWTH.
        enough: see ENOUGH.
    """

    def __init__(self, clients: Callable[[], int], *, growth: float = GROWTH, enough: int = ENOUGH) -> None:
        self._clients = clients
        self._growth = growth
        self._enough = enough
        self._before = gc.get_threshold()
        self._settled = 0
        self._aside = 0
        self._looks_at_everything = True

    def start(self) -> None:
        """Set aside what is there now, and from now on what survives full passes."""
        self._before = gc.get_threshold()
        gc.set_threshold(*THRESHOLDS)
        gc.callbacks.append(self._after_pass)
        gc.collect()
        # Python makes no full pass until there is a quarter more than the last one left: now, than nothing.
        gc.collect()

    def close(self) -> None:
        """Leave the collector as it was."""
        gc.callbacks.remove(self._after_pass)
        gc.set_threshold(*self._before)
        gc.unfreeze()

    def _after_pass(self, phase: str, info: dict[str, Any]) -> None:
        if phase != "stop" or info["generation"] != 2:
            return
        survivors = len(gc.get_objects(generation=2))
        if survivors < self._enough and not self._looks_at_everything:
            return
        self._aside += survivors
        gc.freeze()
        if self._looks_at_everything:
            self._looks_at_everything = False
            self._settled = self._aside = gc.get_freeze_count()
        elif self._has_too_much():
            # What was put there. What is left of it is counted only now, for that takes as long as there is much.
            self._aside = gc.get_freeze_count()
            if self._has_too_much():
                self._looks_at_everything = True
                gc.unfreeze()

    def _has_too_much(self) -> bool:
        return self._aside > self._growth * self._settled + OBJECTS_PER_CLIENT * self._clients()
