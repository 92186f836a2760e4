import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.wire.accept import names


@pytest.mark.parametrize(
    ("accept", "is_named"),
    [
        ("text/event-stream", True),
        ("TEXT/Event-Stream", True),
        ("text/event-stream;charset=utf-8", True),
        ("text/event-stream; q=0.1", True),
        ("text/html, application/json;q=0.9 , text/event-stream ;q=1.000", True),
        ("text/event-stream;q=0, text/event-stream", True),
        ("text/event-stream;q=x", True),
        ("", False),
        ("*/*", False),
        ("text/*", False),
        ("text/event-streams", False),
        ("application/json;type=text/event-stream", False),
        ("text/event-stream;q=0", False),
        ("text/event-stream; Q = 0.000", False),
        ("text/event-stream;charset=utf-8;q=0.", False),
        ("*/*, text/event-stream;q=0", False),
    ],
)
def test_a_type_is_named_by_itself_and_not_refused(accept: str, is_named: bool) -> None:
    """Patterns are what everybody sends; a weight of 0 means no (RFC 9110, section 12.4.2)."""
    assert names(accept, "text/event-stream") is is_named


@given(st.text(st.sampled_from("text/event-stream;,=q0.1 *\x00ü"), max_size=60) | st.text())
def test_whatever_is_sent_has_an_answer(accept: str) -> None:
    """Nonsense names nothing, or something, and breaks nothing."""
    names(accept, "text/event-stream")
