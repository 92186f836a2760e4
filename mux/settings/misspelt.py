"""Environment variables that look like settings and are none, so that a misspelt one is noticed."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches

from mux.settings.environment import environment_variable
from mux.settings.settings import Settings

_OF_KUBERNETES = re.compile(
    # Kubernetes gives every container the addresses of every Service, and Docker's links did: for one called mux these.
    r"MUX_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)

_OF_THE_CLIENTS = frozenset(("MUX_URL", "MUX_TOKEN"))
"""Variables of `mux publish`, `mux tail` and `mux top`."""


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """Return a sentence for every variable that looks like one of ours and is none; values are in none of them."""
    environ = os.environ if environ is None else environ
    known = [environment_variable(spec) for spec in fields(Settings)]
    sentences = []
    for name in sorted(environ):
        if not name.upper().startswith("MUX_") or name in known or name in _OF_THE_CLIENTS:
            continue
        if _OF_KUBERNETES.fullmatch(name):
            continue
        near = get_close_matches(name.upper(), known, n=1)
        sentences.append(f"{name} is no setting of mux" + (f"; {near[0]} is one" if near else ""))
    return sentences
