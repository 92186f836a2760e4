"""Join a table of subscribers to a million channels when told to, for somebody who watches the memory.

    python -m bench.membership router|dict-of-sets SUBSCRIBERS CHANNELS_EACH

Says "ready", waits for a line, joins every subscriber to channels of its own, says "joined" and waits
for its end.
"""

from __future__ import annotations

import sys

from bench.baselines.dict_of_sets import DictOfSets
from bench.null_client import new_hub, null_client
from mux.hub.router import Router


def main(table_name: str, subscribers: int, channels_each: int) -> None:
    """Build the table."""
    hub = new_hub()
    tables: dict[str, Router | DictOfSets] = {"router": hub.router, "dict-of-sets": DictOfSets()}
    table = tables[table_name]
    clients = [null_client(hub) for _ in range(subscribers)]
    print("ready", flush=True)
    sys.stdin.readline()
    for at, client in enumerate(clients):
        for number in range(channels_each):
            table.join(client, b"feed:room/%04d/%04d" % (at, number))
    print("joined", flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
