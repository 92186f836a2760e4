import pytest

from mux.errors import UnsupportedBody
from mux.wire.content import is_binary


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
    with pytest.raises(UnsupportedBody, match="send it"):
        is_binary(types, codings)
