"""Publications to pushes for SDK clients.

A batch of a channel is encoded once, as one frame, and the very same bytes are written to every SDK client that hears
the channel. A push has the offset of its publication, which the client gives back when it comes again.

A client believes that it has everything up to the last offset it was given. So a Pushes holds for as long as that is
true: from the moment when a message may have been missed, or when the numbers begin anew, it gives no offset any more,
and its clients are told to subscribe anew. They then get their pushes from another Pushes.

Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import orjson

from mux.wire.channel import is_wildcard
from mux.wire.position import Numbering
from mux.wire.publication import JOINED, LEFT, Encoder, Kind, Publication, matched
from mux.wire.sdk.info import announced_info, signed_info
from mux.wire.sdk.payloads import as_json
from mux.wire.sdk.replies import push, with_members
from mux.wire.websocket.encoder import Compressor, text_frame

FRAME_BYTES: Final = 64 * 1024
"""A frame takes no further push beyond this size; what is left of a batch follows in further frames."""

_KINDS = {JOINED: "join", LEFT: "leave"}


class Pushes:
    """Turns publications into pushes, with offsets for as long as these are true.

    Args:
        name_of: returns the name of the channel of a Redis channel.
        numbering: says the offsets; without it, there are none.
        rewritten: counts messages that are not JSON, by `text` and `binary`.
        on_encoded: called with each channel and the number of its last message.
        on_over: called once, when offsets are true no longer; nobody may join or leave a channel in it.
    """

    __slots__ = (
        "_base",
        "_batch",
        "_frame",
        "_has_joins",
        "_name_of",
        "_numbering",
        "_on_encoded",
        "_on_over",
        "_rewritten",
        "_usual",
        "epoch",
        "is_over",
    )

    def __init__(
        self,
        name_of: Callable[[bytes], str],
        numbering: Numbering | None,
        rewritten: Counter[str],
        *,
        on_encoded: Callable[[bytes, int], object],
        on_over: Callable[[], object],
    ) -> None:
        self._name_of = name_of
        self._numbering = numbering
        self._rewritten = rewritten
        self._on_encoded = on_encoded
        self._on_over = on_over
        self.epoch = "" if numbering is None else numbering.epoch
        """The epoch of the offsets; empty when there are none."""
        self._base = 0 if numbering is None else numbering.base
        self.is_over = False
        """True when the offsets are true no longer."""
        self._batch: Sequence[Publication] = ()
        self._has_joins = False
        self._frame = b""
        self._usual: dict[Compressor | None, Encoder] = {None: self.encode}

    def encode(self, channel: bytes, publications: Sequence[Publication]) -> bytes:
        """Return the frame of a batch for clients that do not ask who joins and leaves; empty when nothing is left."""
        return self._encoded(channel, publications, has_joins=False)

    def encode_all(self, channel: bytes, publications: Sequence[Publication]) -> bytes:
        """Return the frame of a batch for clients that ask who joins and leaves."""
        return self._encoded(channel, publications, has_joins=True)

    def usual(self, compressor: Compressor | None) -> Encoder:
        """Return the encoder of most clients that have a compressor, or none.

        It is one object for all of them: the router tells encoders apart by what they are.
        """
        found = self._usual.get(compressor)
        if found is None:
            assert compressor is not None, "the encoder without one is there"
            found = self._usual[compressor] = compressor.encoder(self.encode)
        return found

    @property
    def is_true(self) -> bool:
        """True while the offsets are; they have ended when the numbering is another."""
        numbering = self._numbering
        if numbering is not None and (numbering.epoch != self.epoch or numbering.base != self._base):
            self.end()
        return not self.is_over

    def offset_of(self, number: int) -> int:
        """Return the offset of a message; 0 while there are none."""
        return self._base + number if self.epoch and self.is_true else 0

    def pub(self, publication: Publication) -> bytes:
        """Return one publication as it stands in pushes and replies."""
        payload, kind, number = publication
        data = self._data(payload, kind)
        if type(payload) is not bytes and (info := signed_info(payload)) is not None:
            data = b'%b,"info":%b' % (data, info)
        offset = self.offset_of(number)
        return b'{"data":%b,"offset":%d}' % (data, offset) if offset > 0 else b'{"data":%b}' % data

    def pub_of(self, channel: bytes) -> Callable[[Publication], bytes]:
        """Return what makes the publications of a channel or wildcard as they stand in pushes and replies."""
        return self._matched_pub if is_wildcard(channel) else self.pub

    def _matched_pub(self, publication: Publication) -> bytes:
        """Return a publication that names its channel, in its tags as well, for these are all that an app is shown."""
        ((payload, kind, number, own),) = matched((publication,))
        name = orjson.dumps(self._name_of(own))
        return b'%b,"channel":%b,"tags":{"channel":%b}}' % (self.pub((payload, kind, number))[:-1], name, name)

    def newest(self, channel: bytes, publication: Publication, skipped: int) -> bytes:
        """Return the push of the newest message of a subscription, with how many before it were left out."""
        pub = self.pub_of(channel)(publication)
        if skipped and is_wildcard(channel):
            pub = b'%b,"skipped":"%d"}}' % (pub.removesuffix(b"}}"), skipped)
        elif skipped:
            pub = with_members(pub, b'"tags":{"skipped":"%d"}' % skipped)
        return push(orjson.dumps(self._name_of(channel)), "pub", pub)

    def position(self, last: int, more: bytes = b"") -> bytes:
        """Return the body of a reply to a subscription that begins after the last message."""
        return self.position_at(self.offset_of(last), more)

    def position_at(self, offset: int, more: bytes) -> bytes:
        """Return the body of a reply to a subscription that begins after an offset."""
        told = [more] if more else []
        if self.epoch:
            told.append(b'"recoverable":true,"positioned":true,"epoch":"%b"' % self.epoch.encode())
            if offset > 0:
                told.append(b'"offset":%d' % offset)
        return b"{%b}" % b",".join(told)

    def end(self) -> None:
        """Give no offset any more."""
        if not self.is_over:
            self.is_over = True
            self._on_over()

    def note(self, channel: bytes, publications: Sequence[Publication]) -> None:
        """Take note of a batch that is not written to a client."""
        if publications:
            self._on_encoded(channel, publications[-1][2])

    def _encoded(self, channel: bytes, publications: Sequence[Publication], *, has_joins: bool) -> bytes:
        # Clients that have an encoder of their own ask for the same batch one after the other.
        if publications is not self._batch or has_joins != self._has_joins:
            self._frame = self._encode(channel, publications, has_joins=has_joins)
            self._batch, self._has_joins = publications, has_joins
        return self._frame

    def _encode(self, channel: bytes, publications: Sequence[Publication], *, has_joins: bool) -> bytes:
        name = orjson.dumps(self._name_of(channel))
        messages: list[bytes] = []
        before, pub = b'{"push":{"channel":%b,"pub":' % name, self.pub_of(channel)
        for publication in publications:
            kind = publication[1]
            if kind and kind in _KINDS:
                if has_joins:
                    info = b'{"info":%b}' % announced_info(publication[0])
                    messages.append(push(name, _KINDS[kind], info))
                continue
            messages.append(b"%b%b}}" % (before, pub(publication)))
        self.note(channel, publications)
        return frames(messages)

    def _data(self, payload: bytes, kind: Kind) -> bytes:
        data, is_same = as_json(payload, kind)
        if not is_same:
            self._rewritten["binary" if data.startswith(b"{") else "text"] += 1
        return data


def frames(messages: Sequence[bytes]) -> bytes:
    """Return messages in frames of about FRAME_BYTES; nothing when there are none."""
    found: list[bytes] = []
    start = size = 0
    for end, message in enumerate(messages):
        if size and size + len(message) > FRAME_BYTES:
            found.append(text_frame(b"\n".join(messages[start:end])))
            start, size = end, 0
        size += len(message) + 1
    if start < len(messages):
        found.append(text_frame(b"\n".join(messages[start:])))
    return found[0] if len(found) == 1 else b"".join(found)
