import pytest

from mux.wire.publication import is_text


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"hello",
        b"\x00\x7f",
        b"\xc2\x80",
        b"\xe2\x82\xac",
        b"\xef\xbf\xbf",
        b"\xf4\x8f\xbf\xbf",
        b"\xf0\x9f\x99\x82",
    ],
)
def test_valid_utf_8_is_text(payload: bytes) -> None:
    """From one to four bytes a character, up to U+10FFFF."""
    assert is_text(payload)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"\xff", id="never a byte of UTF-8"),
        pytest.param(b"\x80", id="continuation of nothing"),
        pytest.param(b"\xe2\x82", id="cut off"),
        pytest.param(b"\xc0\x80", id="overlong NUL"),
        pytest.param(b"\xe0\x80\xaf", id="overlong slash"),
        pytest.param(b"\xed\xa0\x80", id="high surrogate"),
        pytest.param(b"\xed\xbf\xbf", id="low surrogate"),
        pytest.param(b"\xed\xa0\xbd\xed\xb9\x82", id="pair of surrogates"),
        pytest.param(b"\xf4\x90\x80\x80", id="over U+10FFFF"),
        pytest.param(b"\xf5\x80\x80\x80", id="far over U+10FFFF"),
        pytest.param(b"plain and then \xfe", id="only the end"),
    ],
)
def test_anything_else_is_not(payload: bytes) -> None:
    """RFC 3629 leaves no room for overlong forms and surrogates."""
    assert not is_text(payload)
