"""The agreement of processes on one numbering, against a server that is simulated."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mux.recovery.checksums import Checksum, Checksums
from mux.recovery.order import ASK_SECONDS, BEGIN_SECONDS, VOID_SECONDS, Order
from mux.recovery.talk import Claim, Talk, read, write

RUN = "r" * 40


class Server:
    """A Redis that keeps one order."""

    def __init__(self, seed: int = 0) -> None:
        self.dice = Random(seed)
        self.log: list[Talk | None] = []
        """Every message there ever was; None is one of the feed."""
        self.now = 0.0
        self.epochs = 0
        self.processes: list[Process] = []

    def new_epoch(self) -> str:
        """Return a name that is greater than those before, most of the time: clocks of processes differ."""
        self.epochs += 1
        return f"{int(self.now * 10) + self.dice.randrange(3):06d}{self.epochs:03d}"

    def publish(self, talk: Talk | None = None) -> int:
        """Append a message and return how many connections it goes to."""
        self.log.append(talk)
        return sum(process.is_connected for process in self.processes)

    def process(self) -> Process:
        """Return another process, which is not connected."""
        self.processes.append(process := Process(self, len(self.processes)))
        return process

    def run(self, seconds: float) -> None:
        """Let time pass, and every process hear everything at once and beat every three seconds."""
        end = self.now + seconds
        while self.now < end:
            self.now += 0.05
            for process in self.processes:
                if process.is_connected:
                    process.hear()
                    process.tick()
                    if int(self.now / 3) != int((self.now - 0.05) / 3):
                        process.beat()
        for process in self.processes:
            process.hear()


class Process:
    """A process that counts what it hears."""

    def __init__(self, server: Server, place: int) -> None:
        self.server = server
        self.checksums = Checksums(b"feed:$order", b"feed:$")
        self.order = Order(Random(place), server.new_epoch, self._rank, self.checksums)
        self.place = place
        self.is_connected = False
        self.heard = 0
        """How many messages of the log were delivered, or passed by."""
        self.count = 0
        self.last_index = -1
        self.first_index: int | None = None
        self.told: list[int | None] = []
        """What it was told to have missed."""
        self.counts: dict[int, int] = {}
        """The counts of the messages of the log, as far back as it may say that it has heard them all."""
        self.hole: tuple[int, int] | None = None
        """Its count, and the last message it heard, when it lost its connection, until it knows what it missed."""
        self.withheld: list[int] = []
        """The messages of the log that it has heard since."""
        self.swaps = False
        """Whether the next two messages are heard in the other order, if they are of the feed."""

    def _rank(self, mark: str) -> int:
        return (self.place + len(mark)) % max(1, len(self.server.processes))

    def connect(self, run: str = RUN) -> None:
        self.is_connected = True
        self.heard = len(self.server.log)
        self.first_index = None
        self.order.connected(run, self.server.now)
        self.tick()

    def disconnect(self) -> None:
        self.is_connected = False
        self.order.disconnected()
        if self.hole is None:
            self.hole = self.count, self.last_index
        else:  # what came since is dropped
            self.count, self.last_index = self.hole
            self.withheld.clear()

    def hear(self, most: int = 1 << 30) -> None:
        """Take messages that have been published."""
        while self.is_connected and most and self.heard < len(self.server.log):
            most -= 1
            index, self.heard = self.heard, self.heard + 1
            if self.swaps and self.server.log[index : index + 2] == [None, None]:
                self.swaps = False
                self.heard += 1
                self._hear(index + 1)
            self._hear(index)

    def _hear(self, index: int) -> None:
        talk = self.server.log[index]
        self.count += 1
        self.withheld.append(index)
        if self.first_index is None:
            self.first_index, self.before = index, self.last_index
        self.last_index = max(index, self.last_index)
        if talk is not None:
            self._take(talk)
        if self.hole is None:
            self._release()

    def _release(self) -> None:
        """Take what it heard for what its clients get."""
        for count, index in enumerate(self.withheld, self.count - len(self.withheld) + 1):
            is_talk = self.server.log[index] is not None
            channel, payload = (b"feed:$order", b"") if is_talk else (b"feed:room", b"%d" % index)
            self.checksums.take([[b"pmessage", b"feed:*", channel, payload]], count)
            self.counts[index] = count
        self.withheld.clear()

    def _take(self, talk: Talk) -> None:
        placed = self.order.heard(talk, self.count, self.server.now)
        if placed is None:
            return
        self.told.append(placed.missed)
        if placed.missed != 0:
            self.counts.clear()
            if self.hole is not None:
                self.checksums.forget()
        if placed.missed and self.first_index is not None:
            assert placed.missed == self.first_index - self.before - 1
            self.count += placed.missed
        self.hole = None

    def say(self, talk: Talk) -> None:
        receivers = self.server.publish(talk)
        if talk.mark and talk.claim is None and receivers == 1:
            self.order.alone(talk.mark, self.server.now)

    def tick(self) -> None:
        for talk in self.order.tick(self.server.now):
            self.say(talk)

    def beat(self) -> None:
        if (talk := self.order.beat()) is not None:
            self.say(talk)

    @property
    def offset(self) -> int:
        """Its numbers less the places of the messages in the log: the same for all in one epoch."""
        return self.order.base + self.count - self.last_index


class Fleet(RuleBasedStateMachine):
    """Processes come, go, lose connections, lag, and begin at once."""

    def __init__(self) -> None:
        super().__init__()
        self.server = Server()

    @property
    def processes(self) -> list[Process]:
        return self.server.processes

    @precondition(lambda self: len(self.processes) < 6)
    @rule()
    def comes(self) -> None:
        self.server.process().connect()

    @precondition(lambda self: self.processes)
    @rule(data=st.data())
    def loses_or_gets_its_connection(self, data: st.DataObject) -> None:
        process = data.draw(st.sampled_from(self.processes))
        if process.is_connected:
            process.disconnect()
        else:
            process.connect()

    @rule(count=st.integers(1, 3))
    def is_published(self, count: int) -> None:
        for _ in range(count):
            self.server.publish()

    @precondition(lambda self: self.processes)
    @rule(data=st.data(), most=st.integers(1, 8))
    def hears(self, data: st.DataObject, most: int) -> None:
        data.draw(st.sampled_from(self.processes)).hear(most)

    @rule(seconds=st.sampled_from([0.05, 0.3, 0.8]))
    def time_passes(self, seconds: float) -> None:
        self.server.now += seconds
        for process in self.processes:
            if process.is_connected:
                process.tick()

    @precondition(lambda self: self.processes)
    @rule(data=st.data())
    def beats(self, data: st.DataObject) -> None:
        process = data.draw(st.sampled_from(self.processes))
        if process.is_connected:
            process.beat()

    def settle(self) -> None:
        """Let all processes be connected, and hear everything and several beats."""
        for process in self.processes:
            if not process.is_connected:
                process.connect()
        self.server.run(12)


class Agreement(Fleet):
    """The server keeps one order."""

    def __init__(self) -> None:
        super().__init__()
        self.offsets: dict[str, int] = {}

    @invariant()
    def a_position_means_one_message(self) -> None:
        for process in self.processes:
            if process.order.is_placed:
                assert self.offsets.setdefault(process.order.epoch, process.offset) == process.offset
                assert process.order.voids == 0

    def teardown(self) -> None:
        """In the end all agree."""
        self.settle()
        self.a_position_means_one_message()
        assert len({process.order.epoch for process in self.processes}) == min(1, len(self.processes))
        assert all(process.order.is_placed for process in self.processes)


TestAgreement = Agreement.TestCase
TestAgreement.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


class Swapping(Fleet):
    """Messages change places on their way to one process, and none of them is a message about the order."""

    @initialize(count=st.integers(2, 4))
    def has_agreed(self, count: int) -> None:
        fleet(self.server, count)

    @precondition(lambda self: any(process.order.is_placed for process in self.processes))
    @rule(data=st.data(), before=st.integers(0, 2), after=st.integers(0, 2))
    def swaps(self, data: st.DataObject, before: int, after: int) -> None:
        process = data.draw(st.sampled_from([process for process in self.processes if process.order.is_placed]))
        process.hear()
        if not process.order.is_placed:
            return
        for _ in range(before + 2 + after):
            self.server.publish()
        process.hear(before)
        process.swaps = True
        process.hear(2)
        assert not process.swaps

    def teardown(self) -> None:
        """After two beats, processes that both claim a position mean the same message."""
        self.settle()
        meanings: dict[tuple[str, int], int] = {}
        for process in self.processes:
            if process.order.is_placed:
                for index, count in process.counts.items():
                    position = process.order.epoch, process.order.base + count
                    assert meanings.setdefault(position, index) == index, position


TestSwapping = Swapping.TestCase
TestSwapping.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


@pytest.fixture
def server() -> Server:
    """A server that nobody is connected to."""
    return Server()


def fleet(server: Server, count: int) -> list[Process]:
    """Return processes that have agreed."""
    processes = [server.process() for _ in range(count)]
    for process in processes:
        process.connect()
    server.run(2)
    assert len({process.order.epoch for process in processes}) == 1
    return processes


def test_who_is_alone_begins_at_once(server: Server) -> None:
    """The reply to PUBLISH says that nobody else heard."""
    process = server.process()
    process.connect()
    process.hear()
    process.tick()
    process.hear()
    assert process.order.is_placed
    assert process.told == [0]


def test_a_newcomer_is_told_at_once(server: Server) -> None:
    """The first in rank answers in the turn in which it hears the question."""
    fleet(server, 3)
    newcomer = server.process()
    newcomer.connect()
    server.run(0.05)
    server.run(0.05)
    assert newcomer.order.is_placed


def test_a_question_is_answered_by_one(server: Server) -> None:
    """The others hear the answer before their pause is over."""
    fleet(server, 6)
    before = len(server.log)
    server.process().connect()
    server.run(2)
    assert sum(talk.claim is not None for talk in server.log[before:] if talk and not talk.mark) == 1


def test_a_lost_connection_knows_what_was_missed(server: Server) -> None:
    """Nothing, or how many: as soon as anybody who stayed says what number the question has."""
    process, *_ = fleet(server, 3)
    process.disconnect()
    process.connect()
    server.run(1)
    process.disconnect()
    for _ in range(7):
        server.publish()
    process.connect()
    server.run(1)
    assert process.told[-2:] == [0, 7]


def test_nobody_knows_what_was_missed_when_all_connections_were_lost(server: Server) -> None:
    """Somebody may have published while nobody heard: the numbering begins anew."""
    processes = fleet(server, 3)
    epoch = processes[0].order.epoch
    for process in processes:
        process.disconnect()
        process.told.clear()
    for process in processes:
        process.connect()
    server.run(2)
    assert {process.order.epoch for process in processes} != {epoch}
    assert [process.told[0] for process in processes] == [None] * 3


def test_another_server_has_another_numbering(server: Server) -> None:
    """After a failover nothing that was heard before can be resumed."""
    process, other = fleet(server, 2)
    process.disconnect()
    process.connect("s" * 40)
    server.run(2)
    assert process.order.epoch not in ("", other.order.epoch)
    assert process.told[-1] is None


def test_a_server_without_a_name_has_no_positions(server: Server) -> None:
    """Two nodes of a cluster could not be told apart."""
    process = server.process()
    process.connect("")
    server.run(3)
    assert not process.order.is_placed
    assert process.order.beat() is None


def test_two_that_begin_at_once_end_in_the_older_epoch(server: Server) -> None:
    """The one with the younger renumbers, and has missed nothing."""
    one, two = server.process(), server.process()
    one.connect()
    two.connect()
    one.hear()
    two.hear()
    mark = next(iter(two.order._marks))
    for epoch in "2", "1":
        server.publish(Talk(RUN, claim=Claim(mark, epoch, 5)))
    server.run(1)
    assert {one.order.epoch, two.order.epoch} == {"1"}
    assert one.told == [0, 0]


def test_a_message_that_was_missed_in_silence_voids_the_epoch(server: Server) -> None:
    """It shows in the next beat but one at the latest, in everybody's: nothing from before is resumed."""
    processes = fleet(server, 3)
    epoch = processes[0].order.epoch
    server.publish()
    processes[1].heard += 1
    server.run(2 * 3 + 2)
    assert [process.order.voids for process in processes] == [1, 1, 1]
    assert [process.told[-1] for process in processes] == [None] * 3
    assert len({process.order.epoch for process in processes} - {epoch, ""}) == 1
    assert len({process.offset for process in processes}) == 1


def test_messages_of_the_feed_that_change_places_void_the_epoch(server: Server) -> None:
    """All counts are as they were; the checksum in one of the next two beats is not."""
    processes = fleet(server, 3)
    server.run(3)
    for _ in range(5):
        server.publish()
    processes[1].swaps = True
    server.run(2 * 3 + 2)
    assert [process.order.voids for process in processes] == [1, 1, 1]
    assert [process.told[-1] for process in processes] == [None] * 3
    server.run(30)
    assert [process.order.voids for process in processes] == [1, 1, 1], "what is settled is not compared again"
    assert len({process.offset for process in processes}) == 1


def test_a_process_of_a_version_without_checksums_takes_part(server: Server) -> None:
    """What it says is compared by its numbers; what others say beside the claim it does not read."""
    processes = fleet(server, 3)
    processes[0].checksums.take = lambda messages, first: False  # type: ignore[method-assign]
    for _ in range(3):
        server.publish()
        server.run(3)
    assert [process.order.voids for process in processes] == [0, 0, 0]
    claim = Claim("m", "e", 5, Checksum(3, 7))
    assert read(write(Talk(RUN, "n", claim))) == Talk(RUN, "n", claim)
    assert b'"claim":["m","e",5]' in write(Talk(RUN, "n", claim))


@pytest.mark.parametrize("checksum", [b"1", b"[]", b'["1",2]', b"[0,1]", b"[1,-1]", b"[1,4294967296]", b"[1,2,3]"])
def test_a_checksum_that_cannot_be_is_none(checksum: bytes) -> None:
    """The claim beside it counts."""
    said = b'{"server":"r","claim":["m","e",5],"checksum":%b}' % checksum
    assert read(said) == Talk("r", claim=Claim("m", "e", 5))


def test_a_server_that_keeps_no_order_has_no_positions_in_the_end(server: Server) -> None:
    """A second void epoch within ten minutes, and numbering stops until there is another connection."""
    processes = fleet(server, 3)
    for _ in range(2):
        server.publish()
        processes[1].heard += 1
        server.run(8)
    assert [process.order.is_off for process in processes] == [True] * 3
    assert [process.order.is_placed for process in processes] == [False] * 3
    processes[1].disconnect()
    processes[1].connect()
    assert not processes[1].order.is_off


def test_a_process_that_saw_one_void_epoch_goes_on_in_one_that_nobody_shares(server: Server) -> None:
    """It was started between two void epochs. Its positions mean something to itself alone, so they mislead nobody."""
    processes = fleet(server, 2)
    for late in (False, True):
        if late:
            processes.append(server.process())
            processes[2].connect()
            server.run(1)
        server.publish()
        processes[1].heard += 1
        server.run(8)
    assert [process.order.is_off for process in processes] == [True, True, False]
    assert processes[2].order.is_placed
    assert [process.order.is_placed for process in processes[:2]] == [False, False]


def test_a_process_without_a_place_counts_what_is_void() -> None:
    """It may be the very one that hears another order: when all others have stopped, nobody would contradict it."""
    order = Order(Random(1), lambda: "e3", lambda mark: 0, Checksums(b"feed:$order", b"feed:$"))
    order.connected("server", 0.0)
    for number, epoch in enumerate(("e1", "e1", "e2"), 1):
        assert not order.is_off
        order.heard(Talk("server", void=epoch), number, float(number))
    assert order.is_off
    assert order.voids == 0, "it has used none of them"


def test_an_epoch_that_is_void_now_and_then_is_replaced(server: Server) -> None:
    """Once in ten minutes is an accident."""
    processes = fleet(server, 2)
    for _ in range(2):
        server.publish()
        processes[1].heard += 1
        server.run(8)
        server.now += VOID_SECONDS
        server.run(8)
    assert [process.order.voids for process in processes] == [2, 2]
    assert all(process.order.is_placed for process in processes)


@pytest.mark.parametrize("error", [-3, -1, 1, 1000])
def test_a_lie_is_found_out(server: Server, error: int) -> None:
    """A claim that contradicts what others know makes the epoch void, for the newcomer that believed it as well."""
    processes = fleet(server, 3)
    epoch = processes[0].order.epoch
    newcomer = server.process()
    newcomer.connect()
    newcomer.hear()
    (mark,) = newcomer.order._marks
    server.publish(Talk(RUN, claim=Claim(mark, epoch, len(server.log) + error)))
    server.run(4)
    everybody = [*processes, newcomer]
    assert epoch not in {process.order.epoch for process in everybody}
    assert len({process.order.epoch for process in everybody}) == 1
    assert len({process.offset for process in everybody}) == 1


def test_an_epoch_that_is_void_stays_void(server: Server) -> None:
    """Whoever comes late and believes in it is told, by one."""
    processes = fleet(server, 3)
    epoch = processes[0].order.epoch
    server.publish(Talk(RUN, void=epoch))
    server.run(3)
    (mark, count), *_ = processes[0].order._marks.items()
    before = len(server.log)
    server.publish(Talk(RUN, claim=Claim(mark, epoch, count)))
    server.run(0.3)
    assert [talk.void for talk in server.log[before:] if talk and talk.void] == [epoch]
    assert epoch not in {process.order.epoch for process in processes}


def test_the_pause_before_a_new_question_ends(server: Server) -> None:
    """One of those that lost their epoch asks, and the rest use the answer."""
    fleet(server, 4)
    before = len(server.log)
    server.publish(Talk(RUN, void=server.processes[0].order.epoch))
    server.run(ASK_SECONDS + BEGIN_SECONDS * 1.5 + 0.2)
    assert len({process.order.epoch for process in server.processes}) == 1
    assert server.processes[0].order.is_placed
    assert sum(bool(talk and talk.mark and not talk.claim) for talk in server.log[before:]) <= 4


def test_a_beat_that_says_what_was_missed_is_a_mark_behind_it(server: Server) -> None:
    """It places a process and is noted at a count that has what was missed, so the next claim contradicts nothing."""
    process, other = fleet(server, 2)
    process.disconnect()
    server.publish()
    process.connect()
    process.hear()
    (mark,) = process.order._marks
    other.hear()
    claim = Claim(mark, other.order.epoch, other.order.base + other.count)
    server.publish(Talk(RUN, mark="beat", claim=claim))
    process.hear()
    assert process.told[-1] == 1
    server.publish(Talk(RUN, claim=Claim("beat", claim.epoch, claim.number + 1)))
    server.run(1)
    assert process.order.voids == 0
