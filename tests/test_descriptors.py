from __future__ import annotations

import resource

import pytest

from mux.descriptors import descriptor_limit, raise_descriptor_limit


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
