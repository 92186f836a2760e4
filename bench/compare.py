"""Run every work against every server, in rounds.

In a round each work is given to one server after the other, each started anew; the next round begins with
another. So whatever the machine did in a minute, it did to all of them, and ratios are taken within a round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.disjoint import CONTENDERS, PROCESSES, run_disjoint
from bench.measure import Say, silent
from bench.peers.registry import PEERS, Peer
from bench.servers import redis_server, serving
from bench.works import CASES, Amounts, Case, Figures, run_case, run_limit

LIMIT = "limit"
DISJOINT = "disjoint"

Rounds = list[Figures | None]
"""The figures of each round; None where a server failed."""


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
    say: Say = silent,
    after_case: Callable[[], None] = lambda: None,
) -> None:
    """Fill a comparison, round by round."""
    chosen = [case for case in CASES if not cases or case.name in cases]
    runner = _Runner(comparison, amounts, peers, say)
    for at in range(rounds):
        turn = at % max(1, len(contenders))
        order = [*contenders[turn:], *contenders[:turn]]
        for case in chosen:
            if case.has_limit:
                runner.limit(case)
            for peer in order:
                runner.case(case, peer)
            after_case()
        if not cases or DISJOINT in cases:
            for peer in CONTENDERS:
                if peer in contenders:
                    runner.disjoint(peer)
        after_case()


class _Runner:
    def __init__(self, comparison: Comparison, amounts: Amounts, peers: Path, say: Say) -> None:
        self._comparison = comparison
        self._amounts = amounts
        self._peers = peers
        self._say = say

    def limit(self, case: Case) -> None:
        self._keep(case.name, LIMIT, lambda redis_url: run_limit(case, self._amounts))

    def case(self, case: Case, peer: Peer) -> None:
        def run(redis_url: str) -> Figures:
            with serving(peer, redis_url, self._peers) as running:
                return run_case(case, running, redis_url, self._amounts, self._tell(case.name, peer))

        self._keep(case.name, peer.name, run)

    def disjoint(self, peer: Peer) -> None:
        for processes in PROCESSES:

            def run(redis_url: str, processes: int = processes) -> Figures:
                return run_disjoint(peer, processes, redis_url, self._peers, self._amounts)

            self._keep(DISJOINT, f"{peer.name} x{processes}", run)

    def _keep(self, case: str, name: str, run: Callable[[str], Figures]) -> None:
        self._say(f"{case}: {name}", 0.0, 0, 0, 0)
        figures: Figures | None = None
        try:
            # A Redis of its own each time: what one server left subscribed is no burden to the next.
            with redis_server() as redis_url:
                figures = run(redis_url)
        except (OSError, RuntimeError) as error:
            self._comparison.failures[f"{case}: {name}"] = str(error)
        self._comparison.cases.setdefault(case, {}).setdefault(name, []).append(figures)

    def _tell(self, case: str, peer: Peer) -> Say:
        def tell(what: str, done: float, delivered: int, missing: int, p99_us: int) -> None:
            self._say(f"{case}: {peer.name}, {what}", done, delivered, missing, p99_us)

        return tell
