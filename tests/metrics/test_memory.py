from __future__ import annotations

from pathlib import Path

import pytest

from mux.metrics import memory


def test_memory_is_that_of_a_python_process() -> None:
    """More than five megabytes, less than there is."""
    assert 5e6 < memory.resident_bytes() < 1e12


@pytest.mark.parametrize("content", [None, b"", b"1 x"])
def test_where_the_system_does_not_say_it_is_the_most_there_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    """As on macOS, which has no /proc."""
    if content is not None:
        (tmp_path / "statm").write_bytes(content)
    monkeypatch.setattr(memory, "_STATM", tmp_path / "statm")
    assert 5e6 < memory.resident_bytes() < 1e12
