"""How much memory a process may use, from files as Linux has them."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from mux.memory import GIVE_BACK_BYTES, Freed, _of_control_groups, memory_limit

LAYOUTS = {
    "version 2": ("0::/app/one", {"app/one/memory.max": "1000\n"}, {1000}),
    "version 2, a group above": ("0::/app/one", {"app/memory.max": "700", "app/one/memory.max": "max"}, {700}),
    "version 2, in a container": ("0::/", {"memory.max": "500"}, {500}),
    "a path of outside the container": ("0::/../../x", {"memory.max": "500"}, {500}),
    "version 1": ("4:memory:/app", {"memory/app/memory.limit_in_bytes": "900"}, {900}),
    "version 1, in a container": ("4:memory:/docker/abc", {"memory/memory.limit_in_bytes": "900"}, {900}),
    "version 1, mounted with another": (
        "4:cpu,memory:/app",
        {"cpu,memory/app/memory.limit_in_bytes": "800"},
        {800},
    ),
    "both": (
        "4:memory:/a\n1:name=systemd:/\n0::/b",
        {"memory/a/memory.limit_in_bytes": "900", "unified/b/memory.max": "400"},
        {900, 400},
    ),
    "no limit": ("0::/app", {"app/memory.max": "max"}, set()),
    "nothing to read": ("0::/app", {}, set()),
    "no control groups": (None, {}, set()),
}


@pytest.mark.parametrize(("groups", "files", "limits"), LAYOUTS.values(), ids=LAYOUTS)
def test_limits_of_control_groups_are_found(
    groups: str | None, files: dict[str, str], limits: set[int], tmp_path: Path
) -> None:
    """In either version, in the group itself or above it, inside a container or not."""
    root = tmp_path / "cgroup"
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    own = tmp_path / "own"
    if groups is not None:
        own.write_text(groups)
    assert set(_of_control_groups(own, root)) == limits


def test_memory_is_given_back_whatever_made_it_free() -> None:
    """Only evictions counted, so that a crowd that left by itself left its memory with the process."""
    freed = Freed()
    step = GIVE_BACK_BYTES
    asked = [
        (0, 0, False),
        (step, 0, False),
        (0, 0, True),  # they left, or read
        (0, 0, False),
        (0, step, True),  # they came and were evicted in between
        (step, step, False),
        (step // 2, step, False),
        (0, step, True),
    ]
    assert [freed.is_much(waiting, evicted) for waiting, evicted, _ in asked] == [much for _, _, much in asked]


def test_the_smallest_limit_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this machine's memory no more than is allowed."""
    machine = memory_limit()
    assert machine > 1 << 20
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1 << 20, resource.RLIM_INFINITY))
    assert memory_limit() == 1 << 20
