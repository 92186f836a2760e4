"""What a process may have of the machine, from files and limits as Linux has them."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from mux import machine
from mux.machine import (
    GIVE_BACK_BYTES,
    Freed,
    _of_control_groups,
    descriptor_limit,
    memory_limit,
    raise_descriptor_limit,
)

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


def test_the_limit_is_that_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """The soft one; 0 stands for none."""
    assert descriptor_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert descriptor_limit() == 0


def test_the_soft_limit_is_raised_to_the_hard_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system lets us; where not, it stays."""
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (256, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: asked.append(limits))
    raise_descriptor_limit()
    assert asked == [(4096, 4096)]

    def refuse(kind: int, limits: tuple[int, int]) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    raise_descriptor_limit()


def test_memory_is_that_of_a_python_process() -> None:
    """More than five megabytes, less than there is."""
    assert 5e6 < machine.resident_bytes() < 1e12


@pytest.mark.parametrize("content", [None, b"", b"1 x"])
def test_where_the_system_does_not_say_it_is_the_most_there_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    """As on macOS, which has no /proc."""
    if content is not None:
        (tmp_path / "statm").write_bytes(content)
    monkeypatch.setattr(machine, "_STATM", tmp_path / "statm")
    assert 5e6 < machine.resident_bytes() < 1e12
