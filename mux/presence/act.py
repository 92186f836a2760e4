"""One act on clients: what is to be done, to which, and what it looks like between processes.

Pure, but for the clock. All that is read may be forged, but for what has a proof: an act that gives clients something
is made with one of the keys of the API, which whoever may publish in Redis need not have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hmac import compare_digest, digest
from time import time
from typing import Literal, TypeAlias

import orjson

from mux import reasons
from mux.errors import InvalidChannel
from mux.fleet.messages import MAX_LABEL_LENGTH, is_label
from mux.presence.roster import is_name
from mux.wire.channel import check_subscription

MAX_SENTENCE_BYTES = 123
"""Most bytes of what a client is told: a close frame has room for no more (RFC 6455, section 5.5)."""

MAX_SPARED = 16
"""Most clients that one act spares; a question to the fleet is short."""

MAX_RENEWAL_SECONDS = 31 * 86_400
"""The grants of a connection are renewed for a month at most."""

MAX_DATA_BYTES = 512
"""Most bytes of the JSON that clients are given with a subscription; a question to the fleet is short."""

PROOF_SECONDS = 60.0
"""A proof holds for so many seconds, on the clocks of all processes."""

What: TypeAlias = Literal["disconnect", "unsubscribe", "refresh", "subscribe"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """An act on clients, and a description of these clients: every field that is not None has to fit them."""

    act: What
    subject: str | None = None
    """The subject of the clients' tokens; an empty one stands for clients without a subject."""
    channel: str | None = None
    """The name of a channel, or of a wildcard: the clients that listen to this very one."""
    client: str | None = None
    """The name of one client in a channel, as presence tells it."""
    spared: Sequence[str] = ()
    """The names of clients that are not meant, whatever else fits."""
    code: int = reasons.DISCONNECTED.code
    """The close code of a WebSocket."""
    sentence: str = reasons.DISCONNECTED.sentence
    """The reason that the client is told."""
    until: float = 0.0
    """Unix time in seconds: the new end of their grants, or that of a subscription, which 0 leaves without."""
    data: str = ""
    """JSON that clients are given with a subscription; nothing when there is none."""
    at: float = 0.0
    """Unix time in seconds at which the proof was made."""
    proof: str = ""
    """A code over the act that nobody makes without a key of the API."""

    def check(self) -> Act:
        """Return the act if it can be.

        Raises:
            ValueError: it cannot be, and the message says why.
            InvalidChannel: the name of the channel cannot be.
        """
        if self.subject is None and self.channel is None and self.client is None:
            raise ValueError("name a subject, a channel or a client: nobody is disconnected without")
        if self.subject is not None and not _is_subject(self.subject):
            raise ValueError(f"a subject has at most {MAX_LABEL_LENGTH} characters, and none is half of a pair")
        if self.client is not None and not is_name(self.client):
            raise ValueError("a client is named as presence tells it")
        if len(self.spared) > MAX_SPARED or not all(map(is_name, self.spared)):
            raise ValueError(f"at most {MAX_SPARED} clients are spared, each named as presence tells it")
        if self.channel is not None:
            check_subscription(self.channel)
        elif self.act in ("subscribe", "unsubscribe"):
            raise ValueError("name the channel")
        if len(self.data.encode(errors="surrogatepass")) > MAX_DATA_BYTES:
            raise ValueError(f"the data of a subscription has at most {MAX_DATA_BYTES} bytes")
        if not is_label(self.sentence) or not 0 < len(self.sentence.encode()) <= MAX_SENTENCE_BYTES:
            raise ValueError(f"what a client is told has 1 to {MAX_SENTENCE_BYTES} bytes of printable text")
        if self.code != 1000 and not 3000 <= self.code <= 4999:
            raise ValueError(f"a WebSocket is closed with 1000 or 3000 to 4999, not {self.code}")
        if self.act == "refresh" and not 0 <= self.until <= time() + MAX_RENEWAL_SECONDS:
            raise ValueError("grants are renewed until a Unix time that is a month ahead at most")
        return self

    def proven(self, key: str) -> Act:
        """Return the act with a proof."""
        act = replace(self, at=time())
        return replace(act, proof=_code(act, key).decode())

    def is_proven(self, keys: Sequence[str]) -> bool:
        """Tell whether the act has a proof by one of these keys, made lately."""
        is_fresh = abs(time() - self.at) <= PROOF_SECONDS
        return is_fresh and any(compare_digest(_code(self, key), self.proof.encode()) for key in keys)


def _code(act: Act, key: str) -> bytes:
    """Return the code of an act that gives clients something."""
    said = [act.act, act.subject, act.channel, act.client, act.until, act.data, act.at]
    return digest(key.encode(), orjson.dumps(said), "sha256").hex().encode()


def _is_subject(text: str) -> bool:
    """Tell whether clients can be found by a text; nobody reads it, so it may have any character that UTF-8 has."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return len(text) <= MAX_LABEL_LENGTH


def read_act(question: Mapping[str, object]) -> Act | None:
    """Return the act that another process asks for; None when it cannot be."""
    match question:
        case {
            "act": "disconnect" | "unsubscribe" | "refresh" | "subscribe" as act,
            "subject": None | str() as subject,
            "channel": None | str() as channel,
            "client": None | str() as client,
            "spared": list() | tuple() as spared,  # a tuple comes from this process itself
            "code": int(code),
            "sentence": str(sentence),
            "until": int() | float() as until,
        }:
            found = Act(
                act=act,
                subject=subject,
                channel=channel,
                client=client,
                spared=spared,
                code=code,
                sentence=sentence,
                until=until,
            )
            match question:  # processes of an earlier version do not say this
                case {"data": str(data), "at": int() | float() as at, "proof": str(proof)}:
                    found = replace(found, data=data, at=at, proof=proof)
            try:
                return found.check()
            except (ValueError, InvalidChannel):
                return None
    return None
