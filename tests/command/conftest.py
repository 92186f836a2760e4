"""A server that answers what a test wants."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.command.scripted_server import ScriptedServer, scripted_server


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """Return a server with a fleet of two processes that are made up."""
    with scripted_server() as one:
        yield one
