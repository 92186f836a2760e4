"""Read and write the talk of processes about the order of messages, as bytes on a reserved channel.

Anybody who may publish to Redis may publish on that channel. So everything is small, is checked, and is dropped when
it is not what it should be.

Pure: no I/O, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from mux.recovery.checksums import MAX_STRETCHES, Checksum
from mux.wire.position import MAX_NUMBER

CHANNEL = b"$order"
"""The channel, without the prefix of the fleet."""

MAX_BYTES = 512
"""Longer payloads are nobody's."""

MAX_WORD = 64
"""Most characters of a name: of a mark, an epoch, a server or a copy."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The number of a message, as a process claims it.

    Attributes:
        mark: the name of the message.
        epoch: whose numbers are meant.
        number: that of the message.
        checksum: of what the sender heard before it; None when it does not say.
    """

    mark: str
    epoch: str
    number: int
    checksum: Checksum | None = None


@dataclass(frozen=True, slots=True)
class Talk:
    """A message from one process to all."""

    server: str
    """The run_id of the Redis server that its sender is connected to."""
    mark: str = ""
    """The name by which claims speak of this very message; empty for none."""
    claim: Claim | None = None
    void: str = ""
    """An epoch that is not to be used any more; empty for none."""


@dataclass(frozen=True, slots=True)
class CopyTalk:
    """A message from one process to another about a copy of the journal.

    Attributes:
        kind: `want` asks who has the messages after a number, `offer` says that the sender has, `take` asks one that
            has offered to write the copy, and `sent` says how many chunks were written.
        copy: names the copy, and is drawn by the process that wants it.
        server: the run_id of the Redis server that both are connected to.
        epoch: whose numbers are meant.
        number: with `want` the number after which messages are wanted; with `offer` the number after which the sender
            has all; with `sent` how many chunks there are, -1 for none.
        process: who wants, who offers, and who is to write.
    """

    kind: str
    copy: str
    server: str
    epoch: str = ""
    number: int = 0
    process: str = ""


COPY_KINDS = frozenset(("want", "offer", "take", "sent"))


def write(talk: Talk | CopyTalk) -> bytes:
    """Return what is published."""
    if isinstance(talk, CopyTalk):
        return orjson.dumps(talk)
    claim = talk.claim
    said: dict[str, object] = {"server": talk.server}
    if talk.mark:
        said["mark"] = talk.mark
    if claim is not None:
        said["claim"] = [claim.mark, claim.epoch, claim.number]
        if claim.checksum is not None:  # apart from the claim, where versions without checksums do not look
            said["checksum"] = list(claim.checksum)
    if talk.void:
        said["void"] = talk.void
    return orjson.dumps(said)


def read(payload: bytes) -> Talk | CopyTalk | None:
    """Return what a payload says; None when it says nothing that a process would say."""
    if len(payload) > MAX_BYTES:
        return None
    try:
        said = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(said, dict) or not _is_word(said.get("server")):
        return None
    return _read_copy(said) if "kind" in said else _read_order(said)


def _read_order(said: dict[str, object]) -> Talk | None:
    mark, void, claimed = said.get("mark", ""), said.get("void", ""), said.get("claim")
    if not isinstance(mark, str) or not isinstance(void, str) or max(len(mark), len(void)) > MAX_WORD:
        return None
    claim = None
    if claimed is not None:
        match claimed:
            case [str(marked), str(epoch), int(number)] if _is_word(marked) and _is_epoch(epoch) and _is_number(number):
                claim = Claim(marked, epoch, number, _read_checksum(said.get("checksum")))
            case _:
                return None
    return Talk(str(said["server"]), mark, claim, void)


def _read_copy(said: dict[str, object]) -> CopyTalk | None:
    match said:
        case {
            "kind": str(kind),
            "copy": str(copy),
            "server": str(server),
            "epoch": str(epoch),
            "number": int(number),
            "process": str(process),
        } if kind in COPY_KINDS and _is_word(copy) and copy.isalnum() and max(len(epoch), len(process)) <= MAX_WORD:
            return CopyTalk(kind, copy, server, epoch, number, process) if -1 <= number <= MAX_NUMBER else None
    return None


def _is_word(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_WORD


def _is_epoch(value: str) -> bool:
    """Tell whether a text can be an epoch: it is written into event streams, where a line end would begin a field."""
    return _is_word(value) and value.isascii() and value.isalnum()


def _is_number(value: int) -> bool:
    return not isinstance(value, bool) and 0 <= value <= MAX_NUMBER


def _read_checksum(said: object) -> Checksum | None:
    match said:
        case [int(stretches), int(value)] if 0 < stretches <= MAX_STRETCHES and 0 <= value < 2**32:
            return Checksum(stretches, value)
    return None
