import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.errors import InvalidChannel, InvalidSetting
from mux.wire.channel import (
    LAST_MARK,
    Namespace,
    binary_variant,
    check_channel,
    check_subscription,
    marked,
)
from mux.wire.publication import BINARY, JOINED, LEFT, Kind

PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))


def redis_glob(pattern: bytes, name: bytes) -> bool:
    """Match as Redis does (util.c, stringmatchlen()), for patterns without brackets that mean anything."""
    if not pattern:
        return not name
    if pattern[:1] == b"*":
        return any(redis_glob(pattern[1:], name[start:]) for start in range(len(name) + 1))
    if not name:
        return False
    if pattern[:1] == b"?":
        return redis_glob(pattern[1:], name[1:])
    assert pattern[:1] != b"[", "a bracket that is not escaped"
    literal = pattern[1:] if pattern[:1] == b"\\" and len(pattern) > 1 else pattern
    return literal[:1] == name[:1] and redis_glob(literal[1:], name[1:])


@pytest.mark.parametrize(
    "name", [b"a", b"x" * 255, b"!", b"~", b"a$", b"a/b", b"100%", b"feed:lobby", PRINTABLE.encode()[1:80]]
)
def test_printable_ascii_of_1_to_255_bytes_is_a_channel(name: bytes) -> None:
    """What is allowed is returned as it came, from bytes and from str."""
    assert check_channel(name) == check_channel(name.decode()) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (b"", "empty"),
        (b"x" * 256, "256 bytes; at most 255"),
        (b"a b", "no space"),
        (b" ", "no space"),
        (b"a\x7f", "printable"),
        (b"a\x00", "printable"),
        (b"a\n", "printable"),
        (b"\x80", "printable"),
        (b"caf\xc3\xa9", "printable"),
        ("café", "printable"),
        ("\udcff", "printable"),
        ("é" * 128, "256 bytes"),
        (b"$", "reserved"),
        (b"$probe", "reserved"),
        (b"*", "many channels"),
        (b"a.*", "many channels"),
    ],
)
def test_any_other_name_is_refused_with_the_reason(name: str | bytes, reason: str) -> None:
    """The sentence says what is wrong with the name."""
    with pytest.raises(InvalidChannel, match=reason):
        check_channel(name)


@given(st.binary(max_size=300) | st.text("a$*", max_size=4).map(str.encode))
def test_a_name_is_a_channel_if_and_only_if_it_follows_the_rule(name: bytes) -> None:
    """1 to 255 bytes from ! to ~, not beginning with $ or ending with *: nothing else passes or is refused."""
    rule = 1 <= len(name) <= 255 and all(0x21 <= byte <= 0x7E for byte in name) and name[:1] != b"$"
    for check, is_right in ((check_channel, rule and name[-1:] != b"*"), (check_subscription, rule)):
        try:
            assert check(name) == name
            allowed = True
        except InvalidChannel:
            allowed = False
        assert allowed == is_right
    assert Namespace("feed:").has_channel(b"feed:" + name) == (rule and name[-1:] != b"*")


def test_the_redis_channel_is_the_prefix_and_the_name() -> None:
    """Anybody can publish to a channel with a plain PUBLISH."""
    assert Namespace("feed:").redis_channel(b"lobby") == b"feed:lobby"


@pytest.mark.parametrize(("kind", "mark"), [(BINARY, b"\x00"), (JOINED, b"\x01"), (LEFT, b"\x02")])
def test_what_is_known_of_a_message_is_a_byte_that_no_name_may_have(kind: Kind, mark: bytes) -> None:
    """The marked name is never the name of another channel, and no client can name it."""
    name = b"feed:lobby" + mark
    assert marked(b"feed:lobby", kind) == name
    assert mark[0] <= LAST_MARK
    with pytest.raises(InvalidChannel):
        check_channel(name)


@pytest.mark.parametrize(
    ("prefix", "pattern"),
    [
        ("feed:", b"feed:*"),
        ("a*b", rb"a\*b*"),
        ("what?", rb"what\?*"),
        ("[x]", rb"\[x\]*"),
        ("[^x]", rb"\[\^x\]*"),
        ("back\\", rb"back\\*"),
    ],
)
def test_glob_characters_of_the_prefix_are_escaped(prefix: str, pattern: bytes) -> None:
    """Only the star at the end of the pattern means anything to Redis."""
    assert Namespace(prefix).pattern == pattern


@given(st.text(PRINTABLE, min_size=1, max_size=12), st.binary(max_size=12))
def test_the_pattern_matches_what_starts_with_the_prefix_and_nothing_else(prefix: str, rest: bytes) -> None:
    """Whatever the prefix, the pattern finds its own channels, marked ones too, and no stranger's."""
    namespace = Namespace(prefix)
    own = prefix.encode()
    assert redis_glob(namespace.pattern, binary_variant(namespace.redis_channel(rest)))
    assert redis_glob(namespace.pattern, rest) == rest.startswith(own)


@given(st.text("ab*?[]^\\", min_size=1, max_size=3), st.text("ab*?[]^\\", max_size=4))
def test_the_pattern_matches_no_look_alike(prefix: str, name: str) -> None:
    """Names made of nothing but what is special in a pattern are told apart too."""
    assert redis_glob(Namespace(prefix).pattern, name.encode()) == name.startswith(prefix)


@pytest.mark.parametrize("prefix", ["x", "x" * 64, "$", "a/b:"])
def test_a_prefix_is_1_to_64_printable_characters(prefix: str) -> None:
    """The limits themselves are allowed."""
    assert Namespace(prefix).redis_channel(b"c") == prefix.encode() + b"c"


@pytest.mark.parametrize("prefix", ["", "x" * 65, "a b", "a\x00", "a\x7f", "é", "\udcff"])
def test_any_other_prefix_is_refused(prefix: str) -> None:
    """A prefix that could not be told apart in Redis, or in a log, is a mistake of the operator's."""
    with pytest.raises(InvalidSetting, match="must be 1 to 64 printable"):
        Namespace(prefix)
