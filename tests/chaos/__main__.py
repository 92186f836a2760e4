"""Break things for minutes or hours: `python -m tests.chaos --seconds 300 --seed 7`.

Scenarios come in a random order that the seed decides, with longer and shorter faults. Ends with a
summary of all of them, and with status 1 when a promise was broken; every broken one is told at once,
with the command that repeats its scenario.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import defaultdict
from random import Random
from time import monotonic

from rich.console import Console
from rich.table import Table

from tests.chaos.rig import Outcome, Rig, rig
from tests.chaos.scenarios import SCENARIOS

HOLD_SECONDS = (0.2, 4.0)
"""How long a fault lasts, from and to."""

console = Console(width=max(120, Console().width))  # the summary is no use with its names cut


async def run(seconds: float, seed: int, names: list[str]) -> list[Outcome]:
    """Run scenarios until the time is over, each of them once at least."""
    outcomes: list[Outcome] = []
    random = Random(seed)
    started = monotonic()
    async with rig(seed) as one:
        while True:
            for name in random.sample(names, len(names)):
                if len(outcomes) >= len(names) and monotonic() - started > seconds:
                    return outcomes
                outcomes.append(await _run_one(one, name, random, monotonic() - started, seconds))


async def _run_one(one: Rig, name: str, random: Random, elapsed: float, seconds: float) -> Outcome:
    seed, hold = random.randrange(2**32), random.uniform(*HOLD_SECONDS)
    console.print(f"[{elapsed:6.0f} of {seconds:.0f} s] {name}, {hold:.1f} s, seed {seed}", highlight=False)
    outcome = await one.run(SCENARIOS[name], seed=seed, hold_seconds=hold)
    for problem in outcome.verdict.problems[:5]:
        console.print(f"  {problem.kind}: {problem.text}", style="red", markup=False)
    return outcome


def summary(outcomes: list[Outcome]) -> Table:
    """Return a table with a line for each scenario."""
    table = Table(title=f"{len(outcomes)} runs")
    table.add_column("scenario")
    for heading in (
        "runs",
        "sent",
        "uncertain",
        "received",
        "missed in gaps",
        "gaps",
        "gap s",
        "back after s",
        "broken",
    ):
        table.add_column(heading, justify="right")
    by_name: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_name[outcome.name].append(outcome)
    for name, runs in sorted(by_name.items()):
        verdicts = [run.verdict for run in runs]
        broken = sum(len(verdict.problems) for verdict in verdicts)
        table.add_row(
            name,
            str(len(runs)),
            str(sum(verdict.sent for verdict in verdicts)),
            str(sum(verdict.uncertain for verdict in verdicts)),
            str(sum(verdict.received for verdict in verdicts)),
            str(sum(verdict.forgiven for verdict in verdicts)),
            str(sum(run.gaps for run in runs)),
            f"{sum(run.gap_seconds for run in runs):.1f}",
            f"{max(run.recovery_seconds for run in runs):.2f}",
            str(broken),
            style="red" if broken else None,
        )
    return table


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Break mux, and see what it loses.")
    parser.add_argument("--seconds", type=float, default=300, help="how long, 300 by default")
    parser.add_argument("--seed", type=int, default=7, help="of the order of scenarios and of all dice, 7 by default")
    parser.add_argument("--only", action="append", choices=sorted(SCENARIOS), help="a scenario; repeatable")
    options = parser.parse_args(arguments)
    outcomes = asyncio.run(run(options.seconds, options.seed, options.only or list(SCENARIOS)))
    console.print(summary(outcomes))
    return 1 if any(outcome.verdict.problems for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
