"""The type and coding of a POST's body, which is published as it is, and of the answer that a request accepts.

A body in a coding (gzip) or in another charset than UTF-8 would mean something else to the clients that receive it, so
it is refused. The bytes of application/octet-stream are bytes, whatever charset is named with them.

Pure: values in, a decision out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mux import reasons
from mux.errors import Refused

BINARY_TYPE = "application/octet-stream"
"""A POST with this Content-Type is known to be binary (RFC 9110, section 8.3)."""

_UTF8 = frozenset(("utf-8", "utf8", "us-ascii", "ascii"))
"""ASCII is UTF-8 as well."""


_is_weight = re.compile(r"\s*q\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*").fullmatch  # RFC 9110, section 12.4.2


def is_binary(content_types: Sequence[str], content_codings: Sequence[str]) -> bool:
    """Tell whether a body is known to be binary.

    Args:
        content_types: the values of the Content-Type header.
        content_codings: the values of the Content-Encoding header.

    Raises:
        Refused: it cannot be published as it is.
    """
    codings = {coding.strip().lower() for value in content_codings for coding in value.split(",")} - {"", "identity"}
    if codings:
        raise Refused(reasons.CONTENT, "a body is published as it is: send it without Content-Encoding")
    kind, *parameters = ";".join(content_types).split(";")
    if kind.strip().lower() == BINARY_TYPE:
        return True
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip("\"'").lower() not in _UTF8:
            raise Refused(
                reasons.CONTENT, f"text is UTF-8 here: send it as UTF-8, or as {BINARY_TYPE} if it is not text"
            )
    return False


def accepts_explicitly(accept: str, media_type: str) -> bool:
    """Tell whether an Accept header names a media type itself, and does not refuse it with a weight of 0."""
    for element in accept.lower().split(","):
        kind, *parameters = element.split(";")
        if kind.strip() == media_type and not any(map(_is_zero_weight, parameters)):
            return True
    return False


def content_coding(accept_encoding: str) -> str:
    """Return the content coding for an answer by an Accept-Encoding header: gzip, deflate or, for none, nothing.

    One that is not named has the weight of `*` (RFC 9110, section 12.5.3). A weight that is none counts as 0.
    """
    weights: dict[str, float] = {}
    for element in accept_encoding.lower().split(","):
        name, *parameters = element.split(";")
        weights[name.strip()] = _weight(parameters)
    others = weights.get("*", 0.0)
    gzip = weights.get("gzip", weights.get("x-gzip", others))
    deflate = weights.get("deflate", others)
    best = max(gzip, deflate)
    if not best or best < weights.get("identity", 0.0):
        return ""
    return "gzip" if gzip == best else "deflate"


def _weight(parameters: Sequence[str]) -> float:
    found = [_is_weight(parameter) for parameter in parameters]
    return min((0.0 if one is None else float(one[1]) for one in found), default=1.0)


def _is_zero_weight(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    if name.strip() != "q":
        return False
    whole, _, fraction = value.strip().partition(".")
    return whole == "0" and not fraction.strip("0")
