import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux import reasons
from mux.wire.http.content import accepts_explicitly, content_coding, is_binary
from tests.support.refusals import refused


@pytest.mark.parametrize(
    ("types", "codings", "expected"),
    [
        ([], [], False),
        (["text/plain"], [], False),
        (["text/plain; charset=UTF-8"], ["identity"], False),
        (['application/json;charset="utf-8"; x=y'], [""], False),
        (["text/plain ; Charset = us-ascii"], [], False),
        (["application/x-www-form-urlencoded"], [], False),
        (["multipart/form-data; boundary=a;b"], [], False),
        (["Application/Octet-Stream"], [], True),
        (["application/octet-stream; charset=binary"], ["Identity"], True),
    ],
)
def test_what_is_published_as_it_is(types: list[str], codings: list[str], expected: bool) -> None:
    """Any type of content in no coding; it is binary if its type says so."""
    assert is_binary(types, codings) is expected


@pytest.mark.parametrize(
    ("types", "codings"),
    [
        ([], ["gzip"]),
        (["application/octet-stream"], ["br"]),
        ([], ["identity, GZIP"]),
        ([], ["identity", "deflate"]),
        (["text/plain; charset=iso-8859-1"], []),
        (["text/plain; charset='utf-16'"], []),
        (["text/plain; a=b; CHARSET=latin1"], []),
        (["text/plain; charset=utf-8; charset=utf-16"], []),
        (["text/plain", "text/plain; charset=utf-16"], []),
        (["text/plain; charset="], []),
        (["text/plain; charset=\udcff"], []),
    ],
)
def test_a_coding_or_another_charset_is_refused(types: list[str], codings: list[str]) -> None:
    """However it is spelled, and however often."""
    with refused(reasons.CONTENT, "send it"):
        is_binary(types, codings)


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
    assert accepts_explicitly(accept, "text/event-stream") is is_named


@given(st.text(st.sampled_from("text/event-stream;,=q0.1 *\x00ü"), max_size=60) | st.text())
def test_whatever_is_sent_has_an_answer(accept: str) -> None:
    """Nonsense names nothing, or something, and breaks nothing."""
    accepts_explicitly(accept, "text/event-stream")
    content_coding(accept)


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("", ""),
        ("identity", ""),
        ("br, zstd", ""),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("GZIP", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate, br, zstd", "gzip"),  # Chromium
        ("deflate, gzip", "gzip"),
        ("gzip;q=0.5, deflate", "deflate"),
        ("gzip; q=0.001 , deflate;q=0", "gzip"),
        ("gzip;q=0", ""),
        ("gzip;q=0.000, *", "deflate"),
        ("*", "gzip"),
        ("*;q=0", ""),
        ("gzip;q=0.5, identity;q=0.8", ""),
        ("gzip;q=0.5, identity;q=0.5", "gzip"),
        ("identity;q=0, deflate;q=0.1", "deflate"),
        ("gzip;q=2", ""),
        ("gzip;q=", ""),
        ("gzip;q=0.1234", ""),
        ("gzip;level=9", ""),
        (" , gzip", "gzip"),
    ],
)
def test_an_answer_has_the_coding_that_is_wanted_most(accept: str, coding: str) -> None:
    """By its weight (RFC 9110, section 12.5.3), gzip before deflate; none where a weight is none."""
    assert content_coding(accept) == coding
