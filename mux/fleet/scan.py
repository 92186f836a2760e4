"""Find the first channels of one process, a slice at a time.

There may be a million channels, and clients are served meanwhile, so a slice is looked at in each turn of the event
loop and only the best are kept. No iterator survives its turn: a dict that changes under one can end the process.
Nor is the table of channels copied, which would take too long. A scan goes over the connections instead, for each
knows its channels: connections hang on spokes of a wheel and stay where they hang, a spoke is a small part of them,
and a copy of one spoke is taken at a time.

So a channel is found when somebody listens to it from the beginning of the scan to its end. It is found once for
each of its subscribers, and kept once.

Pure: whoever owns the event loop calls step().
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf

from mux.hub.router import Router
from mux.hub.subscriber import AnySubscriber

SLICE_CHANNELS = 1024
"""Channels in one slice; to look at so many takes a millisecond or less."""

COPIED_PER_CHANNEL = 16
"""Copying this many connections takes as long as looking at one channel."""


class Scan:
    """The first channels of a process by subscribers, or by rate; ties by name.

    Args:
        router: knows how many subscribers a channel has.
        spoke: returns a copy of one spoke of connections by its number, None when there is none.
        prefix: what the names of the channels begin with in Redis.
        count: how many to keep.
        rates: messages per second by channel, to sort by; None sorts by subscribers.
    """

    def __init__(
        self,
        router: Router,
        spoke: Callable[[int], list[AnySubscriber] | None],
        *,
        prefix: bytes,
        count: int,
        rates: Mapping[bytes, float] | None = None,
    ) -> None:
        self._router = router
        self._spoke = spoke
        self._prefix = prefix
        self._count = count
        self._rates = rates
        self._spokes_begun = 0
        self._has_spokes = True
        self._waiting: list[AnySubscriber] = []
        self._kept: dict[bytes, float] = {}
        self._worst = (inf, b"")

    @property
    def is_complete(self) -> bool:
        """True, after result(), when nothing was left out but for the prefix."""
        return self._worst[0] == inf

    def step(self) -> bool:
        """Look at the next slice; return False when it was the last."""
        names = self._next_names()
        self._keep(names)
        if len(self._kept) >= 2 * self._count:
            self._trim()
        return self._has_spokes

    def result(self) -> list[bytes]:
        """Return the names, in order, when step() has returned False."""
        self._trim()
        return list(self._kept)

    def _next_names(self) -> list[bytes]:
        """Return the channels of some more connections, about as many as a slice has."""
        names: list[bytes] = []
        copied = 0
        while len(names) + copied // COPIED_PER_CHANNEL < SLICE_CHANNELS:
            if self._waiting:
                names.extend(self._router.channels(self._waiting.pop()))
                continue
            spoke = self._spoke(self._spokes_begun)
            if spoke is None:
                self._has_spokes = False
                break
            self._spokes_begun += 1
            self._waiting = spoke
            copied += len(spoke) + COPIED_PER_CHANNEL
        return names

    def _keep(self, names: list[bytes]) -> None:
        kept, prefix, rates, count = self._kept, self._prefix, self._rates, self._router.count
        worst, worst_name = self._worst
        for name in names:
            value = -count(name) if rates is None else -rates.get(name, 0.0)
            if (value < worst or (value == worst and name < worst_name)) and name.startswith(prefix):
                kept[name] = value

    def _trim(self) -> None:
        best = sorted((value, name) for name, value in self._kept.items())
        if len(best) > self._count:
            del best[self._count :]
            self._worst = best[-1]
        self._kept = {name: value for value, name in best}
