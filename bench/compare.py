"""Run every work against every server, in rounds.

In a round each work is given to one server after the other, each started anew; the next round begins with
another. So whatever the machine did in a minute, it did to all of them, and ratios are taken within a round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from bench.measure import Figures
from bench.peers.registry import PEERS, Peer
from bench.servers import redis_server, serving
from bench.works import CASES, SECONDS, Case, run_case, run_limit

LIMIT = "limit"

HOPELESS_PERCENT = 10.0
"""A server that loses so much of a work is not given it again: every round would wait for it to the end."""

Rounds = list[Figures | None]
"""The figures of each round; None where a server failed, or was not asked again."""


@dataclass(slots=True)
class Comparison:
    """The results of the comparison."""

    peers: dict[str, dict[str, str]] = field(default_factory=dict)
    """The facts about each server: version, published, install, and skipped with the reason."""
    cases: dict[str, dict[str, Rounds]] = field(default_factory=dict)
    """The figures by case and server."""
    failures: dict[str, str] = field(default_factory=dict)
    """Why a server failed in a case."""

    def as_json(self) -> dict[str, Any]:
        """Return what goes into a results file."""
        return asdict(self)

    def is_hopeless(self, case: str, name: str) -> bool:
        """Return whether a server has already failed in a case, or lost much of it."""
        tried = self.cases.get(case, {}).get(name, ())
        return any(figures is None or figures.get("lost %", 0.0) >= HOPELESS_PERCENT for figures in tried)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Comparison:
        """Take it from a results file."""
        return cls(content["peers"], content["cases"], content["failures"])


def installed(peers: Path, only: Sequence[str] = ()) -> tuple[list[Peer], dict[str, dict[str, str]]]:
    """Return the servers that can be started, and what there is to say of all."""
    said: dict[str, dict[str, str]] = {}
    found = []
    for peer in PEERS:
        if only and not any(word.lower() in peer.name.lower() for word in only):
            continue
        about = said[peer.name] = {"published": peer.published}
        if peer.kind.absent(peers):
            about["skipped"] = "not installed"
            about["install"] = peer.kind.install.replace("{peers}", str(peers))
        else:
            found.append(peer)
            about["version"] = peer.kind.version(peers, peer.packages)
    return found, said


@dataclass(frozen=True, slots=True)
class Step:
    """One work for one server."""

    case: Case
    peer: Peer | None
    """None is the limit."""
    processes: int = 0
    """0 where the case does not ask for a number of processes."""

    @property
    def name(self) -> str:
        """The server, as results name it."""
        if self.peer is None:
            return LIMIT
        return f"{self.peer.name} x{self.processes}" if self.processes else self.peer.name

    def run(self, redis_url: str, peers: Path, *, smoke: bool, seconds: float) -> Figures:
        """Do it once."""
        load = self.case.load(smoke=smoke, seconds=seconds)
        if self.peer is None:
            return run_limit(load)
        with serving(self.peer, redis_url, peers, workers=max(1, self.processes)) as running:
            return run_case(self.case, load, running, redis_url)


def compare(
    contenders: Sequence[Peer],
    comparison: Comparison,
    *,
    rounds: int,
    peers: Path,
    smoke: bool = False,
    seconds: float = SECONDS,
    cases: Sequence[str] = (),
    spares_hopeless: bool = True,
    after_step: Callable[[Step], None] = lambda step: None,
) -> None:
    """Fill a comparison, round by round."""
    for step in [step for at in range(rounds) for step in _round(contenders, at, cases)]:
        figures: Figures | None = None
        is_spared = spares_hopeless and comparison.is_hopeless(step.case.name, step.name)
        try:
            if not is_spared:
                # A Redis of its own each time: what one server left subscribed is no burden to the next.
                with redis_server() as redis_url:
                    figures = step.run(redis_url, peers, smoke=smoke, seconds=seconds)
        except (OSError, RuntimeError, RedisError) as error:
            comparison.failures[f"{step.case.name}: {step.name}"] = " ".join(str(error).split()) or repr(error)
        comparison.cases.setdefault(step.case.name, {}).setdefault(step.name, []).append(figures)
        after_step(step)


def _round(contenders: Sequence[Peer], at: int, cases: Sequence[str]) -> Iterator[Step]:
    turn = at % max(1, len(contenders))
    order = [*contenders[turn:], *contenders[:turn]]
    for case in CASES:
        if cases and case.name not in cases:
            continue
        if case.has_limit:
            yield Step(case, None)
        for peer in order:
            if not case.processes:
                yield Step(case, peer)
            elif peer.is_many:
                yield from (Step(case, peer, processes) for processes in case.processes)
