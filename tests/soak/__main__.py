"""Churn on a real server for minutes: `python -m tests.soak --seconds 180`.

Ends with the fitted slope of everything it uses, and with status 1 when something grows.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from rich.console import Console
from rich.table import Table

from tests.soak.churn import RESOLUTION, Usage, churn, of_process
from tests.support.servers import mux_serve

MIN_ROUNDS = 20

console = Console()


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its status."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="See whether mux grows.")
    parser.add_argument("--seconds", type=float, default=180, help="how long, 180 by default")
    parser.add_argument("--seed", type=int, default=7, help="of what clients do, 7 by default")
    options = parser.parse_args(arguments)
    with mux_serve("--log-level", "error") as server:
        slopes = asyncio.run(
            churn(
                server.port,
                Usage(of_process(server.pid)),
                seconds=options.seconds,
                rounds=MIN_ROUNDS,
                seed=options.seed,
                progress=lambda text: console.print(text, highlight=False),
            )
        )
    table = Table("quantity", "level", "per second", "standard error", "over the run", "grows")
    for name, slope in slopes.items():
        numbers = (slope.level, slope.per_second, slope.error, slope.growth)
        table.add_row(name, *(f"{number:,.2f}" for number in numbers), str(slope.grows(RESOLUTION[name])))
    console.print(table)
    return 1 if any(slope.grows(RESOLUTION[name]) for name, slope in slopes.items()) else 0


if __name__ == "__main__":
    sys.exit(main())
