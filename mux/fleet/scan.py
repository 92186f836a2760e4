"""Find the first channels of one process, a slice at a time.

There may be a million of them, and clients are served meanwhile. So the dict is neither copied nor locked: a slice
of it is looked at in each turn of the event loop, and only the best are kept.

The scan goes from the newest channel to the oldest. A dict keeps the order of insertion and adds at the end, so
what has not been looked at yet are always the first so many entries of it, whatever was opened or closed since:
a channel that is there throughout cannot be missed. One may be looked at twice, and is kept once.

Pure: whoever owns the event loop calls step().
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from math import inf

from mux.hub.router import Listened, Router

SLICE_CHANNELS = 4096
"""Looking at so many takes a millisecond or less."""

SKIPPED_PER_CHANNEL = 128
"""While channels come and go, every slice begins by skipping to its place. It is larger by a channel for so many
skipped, so that there are fewer of them."""


class Scan:
    """The first channels of a router by subscribers, or by rate; ties by name.

    Args:
        router: whose channels.
        prefix: what their names in Redis begin with.
        count: how many to keep.
        rates: messages per second by channel, to sort by; None sorts by subscribers.
    """

    def __init__(
        self,
        router: Router,
        *,
        prefix: bytes,
        count: int,
        rates: Mapping[bytes, float] | None = None,
    ) -> None:
        self._router = router
        self._prefix = prefix
        self._count = count
        self._rates = rates
        self._unseen = len(router)
        self._newest = router.newest_channels()
        self._may_repeat = False
        self._kept: list[tuple[float, bytes]] = []
        self._last: tuple[float, bytes] | None = None

    @property
    def is_complete(self) -> bool:
        """True when nothing was left out but for the prefix."""
        return self._last is None

    def step(self) -> bool:
        """Look at the next slice; return False when there is none."""
        if self._unseen <= 0:
            return False
        size = SLICE_CHANNELS
        try:
            self._keep(islice(self._newest, size))
        except RuntimeError:
            # Channels have come or gone since the last slice, and our place has to be found anew.
            size = self._keep_from_anew()
        self._unseen -= size
        if len(self._kept) >= 2 * self._count:
            self._trim()
        return True

    def result(self) -> list[bytes]:
        """Return the names, in order, when step() has returned False."""
        self._trim()
        return [name for _, name in self._kept]

    def _keep_from_anew(self) -> int:
        """Look at a slice after skipping to it from the nearer end; return how many places it has."""
        router = self._router
        self._may_repeat = True
        self._unseen = unseen = min(self._unseen, len(router))
        seen = len(router) - unseen
        if seen < unseen:
            size = SLICE_CHANNELS + seen // SKIPPED_PER_CHANNEL
            self._newest = router.newest_channels(seen)
            self._keep(islice(self._newest, size))
        else:
            size = SLICE_CHANNELS + unseen // SKIPPED_PER_CHANNEL
            self._keep(islice(router.oldest_channels(max(0, unseen - size)), min(size, unseen)))
        return size

    def _keep(self, channels: Iterator[Listened]) -> None:
        kept, prefix, rates = self._kept, self._prefix, self._rates
        last_value, last_name = self._last or (inf, b"")
        # Unpacked at once, the pairs are one object that the dict uses again and again.
        for name, slot in channels:
            if rates is not None:
                value = -rates.get(name, 0.0)
            else:
                value = -len(slot) if type(slot) is set else -1
            is_better = value < last_value or (value == last_value and name < last_name)
            if is_better and name.startswith(prefix):
                kept.append((value, name))

    def _trim(self) -> None:
        kept = self._kept
        if self._may_repeat:
            kept = list(dict.fromkeys(kept))  # which keeps the order: what is nearly sorted is sorted soon
        kept.sort()
        if len(kept) > self._count:
            del kept[self._count :]
            self._last = kept[-1]
        self._kept = kept
