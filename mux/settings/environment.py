"""Environment variables: what they are called, when one counts as given, and how its text becomes a value."""

from __future__ import annotations

import re
from dataclasses import Field
from typing import Any

from mux.errors import InvalidSetting
from mux.settings.values import GatherMs, shown

_TRUE = frozenset(("1", "true", "yes", "on"))
_FALSE = frozenset(("0", "false", "no", "off"))

_SERVICE_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://\S*")


def environment_variable(spec: Field[Any]) -> str:
    """Return the name of the environment variable of a field of Settings."""
    return f"MUX_{spec.name.upper()}"


def means_yes(text: str) -> bool:
    """Return whether the value of a variable turns something on."""
    return text.strip().lower() in _TRUE


def is_given(text: str) -> bool:
    """Return False for a variable that is empty, or that Kubernetes has set to the address of a Service."""
    return bool(text.strip()) and not _SERVICE_ADDRESS.fullmatch(text.strip())


def parse(variable: str, text: str, kind: object) -> object:
    """Read the value of an environment variable as the type of its field."""
    if kind is bool:
        if text.lower() in _TRUE | _FALSE:
            return text.lower() in _TRUE
        raise InvalidSetting(f"{variable} is {shown(text)}; it must be yes or no")
    if kind == tuple[str, ...]:
        return tuple(text.replace(",", " ").split())
    if kind == GatherMs and text == "auto":
        return text
    if kind in (int, float, int | None, GatherMs):
        try:
            return float(text) if kind in (float, GatherMs) else int(text)
        except ValueError:
            expected = "a number or auto" if kind == GatherMs else "a number"
            raise InvalidSetting(f"{variable} is {shown(text)}; it must be {expected}") from None
    return text
