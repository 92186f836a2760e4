"""Run every work against every server, in rounds.

In a round each work is given to one server after the other, each started anew; the next round begins with
another. So whatever the machine did in a minute, it did to all of them, and ratios are taken within a round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from bench.disjoint import CONTENDERS, DISJOINT, DISJOINT_CASE, PROCESSES, run_disjoint
from bench.measure import Say, silent
from bench.pace import Pace
from bench.peers.registry import PEERS, Peer
from bench.servers import redis_server, serving
from bench.works import CASES, Amounts, Case, Figures, run_case, run_limit

LIMIT = "limit"

HOPELESS_PERCENT = 10.0
"""Who loses so much of a work is not given it again: it would be waited for to the end in every round."""

Rounds = list[Figures | None]
"""The figures of each round; None where a server failed, or was not asked again."""


@dataclass(slots=True)
class Comparison:
    """What came of it."""

    peers: dict[str, dict[str, str]] = field(default_factory=dict)
    """Of each server: version, published, install, and skipped with the reason."""
    cases: dict[str, dict[str, Rounds]] = field(default_factory=dict)
    """By case and server."""
    failures: dict[str, str] = field(default_factory=dict)
    """Why a server failed in a case."""

    def as_json(self) -> dict[str, Any]:
        """Return what goes into a results file."""
        return {"peers": self.peers, "cases": self.cases, "failures": self.failures}

    def is_hopeless(self, case: str, name: str) -> bool:
        """Return whether a server has already failed in a case, or lost much of it."""
        tried = self.cases.get(case, {}).get(name, ())
        return any(figures is None or figures.get("lost %", 0.0) >= HOPELESS_PERCENT for figures in tried)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Comparison:
        """Take it from a results file."""
        return cls(content["peers"], content["cases"], content["failures"])


def installed(peers: Path, only: Sequence[str] = ()) -> tuple[list[Peer], dict[str, dict[str, str]]]:
    """Return who can be started, and what there is to say of everyone."""
    said: dict[str, dict[str, str]] = {}
    found = []
    for peer in PEERS:
        if only and not any(word.lower() in peer.name.lower() for word in only):
            continue
        about = said[peer.name] = {"published": peer.published}
        reason = peer.absent(peers)
        if reason is None:
            found.append(peer)
            about["version"] = peer.version(peers)
        else:
            about["skipped"] = reason
            about["install"] = peer.install.replace("{peers}", str(peers))
    return found, said


def compare(
    contenders: Sequence[Peer],
    comparison: Comparison,
    *,
    rounds: int,
    amounts: Amounts,
    peers: Path,
    cases: Sequence[str] = (),
    spare_hopeless: bool = True,
    say: Say = silent,
    after_step: Callable[[], None] = lambda: None,
) -> None:
    """Fill a comparison, round by round."""
    steps = [step for at in range(rounds) for step in _round(contenders, at, cases)]
    runner = _Runner(comparison, amounts, peers, say, Pace([(step.work, step.name) for step in steps]))
    for step in steps:
        if spare_hopeless and comparison.is_hopeless(step.work, step.name):
            runner.spare(step)
        elif step.peer is None:
            runner.limit(step)
        elif step.processes:
            runner.disjoint(step, step.peer)
        else:
            runner.case(step, step.peer)
        after_step()


@dataclass(frozen=True, slots=True)
class _Step:
    case: Case
    peer: Peer | None
    """None is the limit."""
    processes: int = 0
    """Of the case that is bad for us."""

    @property
    def work(self) -> str:
        return self.case.name

    @property
    def name(self) -> str:
        if self.peer is None:
            return LIMIT
        return f"{self.peer.name} x{self.processes}" if self.processes else self.peer.name


def _round(contenders: Sequence[Peer], at: int, cases: Sequence[str]) -> Iterator[_Step]:
    turn = at % max(1, len(contenders))
    order = [*contenders[turn:], *contenders[:turn]]
    for case in CASES:
        if not cases or case.name in cases:
            if case.has_limit:
                yield _Step(case, None)
            yield from (_Step(case, peer) for peer in order)
    if not cases or DISJOINT in cases:
        yield from (
            _Step(DISJOINT_CASE, peer, processes)
            for peer in CONTENDERS
            if peer in contenders
            for processes in PROCESSES
        )


class _Runner:
    def __init__(self, comparison: Comparison, amounts: Amounts, peers: Path, say: Say, pace: Pace) -> None:
        self._comparison = comparison
        self._amounts = amounts
        self._peers = peers
        self._say = say
        self._pace = pace

    def spare(self, step: _Step) -> None:
        self._comparison.cases[step.work][step.name].append(None)
        self._pace.skipped()

    def limit(self, step: _Step) -> None:
        self._keep(step, lambda redis_url: run_limit(step.case, self._amounts))

    def case(self, step: _Step, peer: Peer) -> None:
        def run(redis_url: str) -> Figures:
            with serving(peer, redis_url, self._peers) as running:
                return run_case(step.case, running, redis_url, self._amounts, self._tell(step))

        self._keep(step, run)

    def disjoint(self, step: _Step, peer: Peer) -> None:
        self._keep(
            step,
            lambda redis_url: run_disjoint(
                peer, step.processes, redis_url, self._peers, self._amounts, self._tell(step)
            ),
        )

    def _keep(self, step: _Step, run: Callable[[str], Figures]) -> None:
        self._tell(step)("starting", 0.0, 0, 0, 0)
        figures: Figures | None = None
        try:
            # A Redis of its own each time: what one server left subscribed is no burden to the next.
            with redis_server() as redis_url:
                figures = run(redis_url)
        except (OSError, RuntimeError, RedisError) as error:
            self._comparison.failures[f"{step.work}: {step.name}"] = " ".join(str(error).split()) or repr(error)
        self._comparison.cases.setdefault(step.work, {}).setdefault(step.name, []).append(figures)
        self._pace.done()

    def _tell(self, step: _Step) -> Say:
        def tell(what: str, done: float, delivered: int, missing: int, p99_us: int) -> None:
            text = f"{step.work}: {step.name}, {what}, {self._pace.said()}"
            self._say(text, self._pace.share, delivered, missing, p99_us)

        return tell
