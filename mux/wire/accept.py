"""What a client is ready to take (RFC 9110, section 12.5.1), as far as it decides what it gets.

`*/*` is what everybody sends who has not thought about it, and a response without an end is no surprise to
spring on them: a client that wants one names it.
"""

from __future__ import annotations


def names(accept: str, media_type: str) -> bool:
    """Tell whether an Accept header names a media type itself, and does not refuse it with a weight of 0."""
    for element in accept.lower().split(","):
        kind, *parameters = element.split(";")
        if kind.strip() == media_type and not any(map(_is_zero_weight, parameters)):
            return True
    return False


def _is_zero_weight(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    if name.strip() != "q":
        return False
    whole, _, fraction = value.strip().partition(".")
    return whole == "0" and not fraction.strip("0")
