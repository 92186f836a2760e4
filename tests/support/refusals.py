"""What a test expects to be refused, and for which reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mux.errors import Refused
from mux.reasons import Reason


@contextmanager
def refused(reason: Reason, match: str | None = None) -> Iterator[None]:
    """Expect a Refused for a reason, with a sentence that matches."""
    with pytest.raises(Refused, match=match) as caught:
        yield
    assert caught.value.reason is reason
