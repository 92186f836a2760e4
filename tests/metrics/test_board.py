from __future__ import annotations

import errno
import tempfile
from multiprocessing import get_context

import pytest

from mux.errors import SystemRefused
from mux.metrics.board import HALF_BYTES, Board, Row
from mux.metrics.catalogue import METRICS, Snapshot, Value, add, without_gauges

EMPTY: Snapshot = {
    metric.name: [0, 0] if metric.kind == "histogram" else {} if metric.label else 0 for metric in METRICS
}


def numbers(**values: Value) -> Snapshot:
    """Return a snapshot that is empty but for some values, by names without mux_."""
    return EMPTY | {f"mux_{name}": value for name, value in values.items()}


def test_the_total_is_the_sum_of_all_rows() -> None:
    """Numbers, numbers by label and histograms, each in its way; a row nobody has is nothing."""
    board = Board(3)
    Row(board, 0).write(
        numbers(messages_received=1, connections=2, connections_evicted={"silent": 1}, batch_messages=[1, 5])
    )
    Row(board, 2).write(
        numbers(messages_received=10, connections_evicted={"silent": 1, "overflow": 3}, batch_messages=[2, 7])
    )
    assert board.total() == numbers(
        messages_received=11, connections=2, connections_evicted={"silent": 2, "overflow": 3}, batch_messages=[3, 12]
    )


def test_of_round_trips_the_longest_is_told() -> None:
    """Their sum over processes says nothing: four of 10 ms are no 40 ms."""
    board = Board(3)
    for row, seconds in enumerate((0.01, 0.03, 0.02)):
        Row(board, row).write(numbers(probe_round_trip_seconds=seconds, subscribed=1))
    total = board.total()
    assert (total["mux_probe_round_trip_seconds"], total["mux_subscribed"]) == (0.03, 3)
    board.bury(1)
    assert board.total()["mux_probe_round_trip_seconds"] == 0.02


def test_the_last_write_counts() -> None:
    """A row is replaced, however often."""
    board = Board(1)
    row = Row(board, 0)
    for received in range(5):
        row.write(numbers(messages_received=received))
        assert row.total() == numbers(messages_received=received)


def test_counters_outlive_their_process_and_gauges_do_not() -> None:
    """A dead process has no clients any more, but what it received was received."""
    board = Board(2)
    Row(board, 0).write(numbers(messages_received=5, connections=7))
    board.bury(0)
    board.bury(1)  # one that died before it wrote anything
    assert board.total()["mux_messages_received"] == 5
    assert "mux_connections" not in board.total()
    successor = Row(board, 0)
    assert board.total()["mux_messages_received"] == 5
    successor.write(numbers(messages_received=1, connections=2))
    assert board.total()["mux_messages_received"] == 6
    assert board.total()["mux_connections"] == 2


def test_a_writer_killed_halfway_leaves_the_row_as_it_was() -> None:
    """What is half written is not read."""
    board = Board(1)
    Row(board, 0).write(numbers(messages_received=5))
    memory = memoryview(board._memory).cast("B")
    half = memory[0]
    other = 1 + (2 - half) * HALF_BYTES
    memory[other : other + 20] = b"\xff" * 20
    assert board.read(0)["mux_messages_received"] == 5


def test_what_is_torn_is_read_again() -> None:
    """A row that changes while it is read does not pass for one that was written."""
    board = Board(1)
    Row(board, 0).write(numbers(messages_received=5))
    memory = memoryview(board._memory).cast("B")
    memory[1 + (memory[0] - 1) * HALF_BYTES + 8] ^= 1
    with pytest.raises(AssertionError, match="row 0"):
        board.read(0)


def _write(board: Board, row: int) -> None:
    Row(board, row).write(numbers(messages_received=row + 1))


def test_processes_see_each_other() -> None:
    """The memory is shared by being handed over; it needs no file and no name."""
    context = get_context("spawn")
    board = Board(2)
    workers = [context.Process(target=_write, args=(board, row)) for row in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
        assert worker.exitcode == 0
    assert board.total()["mux_messages_received"] == 3


def test_without_gauges_keeps_the_rest() -> None:
    """By kind, not by name."""
    assert without_gauges(EMPTY).keys() == {metric.name for metric in METRICS if metric.kind != "gauge"}
    assert add(EMPTY, {}) == add({}, EMPTY) == EMPTY


def test_memory_that_cannot_be_shared_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only /dev/shm ended `mux serve --workers 2` in a traceback."""

    def refuse(*arguments: object, **options: object) -> tuple[int, str]:
        raise OSError(errno.EROFS, "Read-only file system", "/dev/shm/pym-1-x")  # noqa: S108 - as Python names it

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    with pytest.raises(SystemRefused) as refused:
        Board(100_000)
    assert str(refused.value) == (
        "workers have no memory to share in /dev/shm (read-only file system); make it writable, or use --workers 1"
    )


def test_beats_and_states_are_beside_the_numbers() -> None:
    """A beat changes the count for whoever looks, however many there were; a state is shown until the next one."""
    board = Board(3)
    row = Row(board, 1)
    counts = set()
    for _ in range(200):
        row.beat()
        counts.add(board.beats(1))
    assert len(counts) == 200
    assert board.beats(0) == board.beats(2) == 0
    board.show(1, "serving")
    board.show(2, "stalled")
    row.write(numbers(messages_received=1))
    assert row.states() == {"waiting": 1, "serving": 1, "stalled": 1}
    board.show(2, "serving")
    assert row.states() == {"waiting": 1, "serving": 2}
    assert row.total() == numbers(messages_received=1)
