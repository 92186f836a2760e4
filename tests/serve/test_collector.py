"""Short passes of the collector, and no leak by them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import ref

import pytest

from mux.serve.collector import GROWTH, THRESHOLDS, Collector


class Thing:
    """Something the collector looks at."""

    other: Thing


def cycle() -> Thing:
    """Return what goes only by the collector."""
    thing = Thing()
    thing.other = thing
    return thing


@contextmanager
def started(growth: float = GROWTH, clients: int = 0, enough: int = 0) -> Iterator[None]:
    """Have one for as long as the block runs, in a process with so many clients."""
    collector = Collector(lambda: clients, growth=growth, enough=enough)
    collector.start()
    try:
        yield
    finally:
        collector.close()


@pytest.fixture
def collector() -> Iterator[None]:
    """One that is not overdue to look at everything."""
    with started():
        yield


@pytest.mark.usefixtures("collector")
def test_a_full_pass_sets_aside_what_it_leaves() -> None:
    """The next one has nothing more to look at."""
    thing = Thing()
    assert any(found is thing for found in gc.get_objects())
    gc.collect(0)
    gc.collect(1)
    assert any(found is thing for found in gc.get_objects())
    gc.collect()
    assert not any(found is thing for found in gc.get_objects())


def test_what_was_in_use_for_a_moment_does_not_stay() -> None:
    """Every pass finds a few requests under way; a soak once grew by 13 KB a second of those it set aside."""
    with started(enough=1000):
        aside = gc.get_freeze_count()
        for _ in range(10):
            thing = cycle()
            gone = ref(thing)
            gc.collect()
            del thing
            gc.collect()
            assert gone() is None
        assert gc.get_freeze_count() <= aside


def test_what_has_become_much_is_set_aside() -> None:
    """A crowd that came to stay makes no pass long but the one that finds it."""
    with started(enough=1000):
        crowd = [Thing() for _ in range(1500)]
        gc.collect()
        assert len(gc.get_objects(generation=2)) < 500
        assert len(crowd) == 1500


@pytest.mark.usefixtures("collector")
def test_garbage_is_never_set_aside() -> None:
    """A cycle that nobody holds goes with the next full pass."""
    gone = ref(cycle())
    gc.collect()
    assert gone() is None


@pytest.mark.usefixtures("collector")
def test_what_was_set_aside_goes_with_its_last_reference() -> None:
    """It takes no pass."""
    thing = Thing()
    gone = ref(thing)
    gc.collect()
    del thing
    assert gone() is None


def test_a_cycle_that_was_set_aside_goes_once_enough_has_come() -> None:
    """Or clients that come and go for weeks could leave ever more behind."""
    with started(growth=1.0):
        thing = cycle()
        gone = ref(thing)
        gc.collect()
        more = [Thing() for _ in range(1000)]
        del thing
        gc.collect()  # it finds that much has come; the next one looks at all
        gc.collect()
        assert gone() is None
        assert len(more) == 1000


def test_what_came_and_went_is_no_leak() -> None:
    """What is set aside is reckoned without looking, so clients that left are taken off when it seems too much."""
    with started(growth=1.05):
        thing = cycle()
        gc.collect()
        gone = ref(thing)
        del thing
        for _ in range(20):
            came = [Thing() for _ in range(gc.get_freeze_count() // 50)]
            gc.collect()
            came.clear()
        assert gone() is not None
    gc.collect()
    assert gone() is None


def test_a_batch_of_messages_is_not_looked_at() -> None:
    """It goes by itself; a pass for every 700 objects of it was a twentieth of what a flood cost."""
    passes: list[str] = []

    def count(phase: str, info: object) -> None:
        passes.append(phase)

    with started():
        gc.callbacks.append(count)
        for _ in range(100):
            assert [[number] for number in range(3000)]
        gc.callbacks.remove(count)
    assert passes == []


def test_what_clients_account_for_is_no_leak() -> None:
    """A process that grows has no longer passes for it."""
    with started(growth=1.0, clients=1000):
        thing = cycle()
        gc.collect()
        gone = ref(thing)
        more = [Thing() for _ in range(1000)]
        del thing
        gc.collect()
        gc.collect()
        assert gone() is not None
        assert len(more) == 1000
    gc.collect()
    assert gone() is None


def test_as_long_as_little_comes_only_what_is_new_is_looked_at() -> None:
    """That is what keeps passes short."""
    with started():
        aside = gc.get_freeze_count()
        for _ in range(3):
            gc.collect()
        assert gc.get_freeze_count() >= 0.9 * aside


def test_the_collector_is_left_as_it_was() -> None:
    """A process that serves no more is like any other."""
    before = (gc.get_threshold(), gc.get_freeze_count(), len(gc.callbacks))
    with started():
        assert gc.get_threshold() == THRESHOLDS
        assert gc.get_freeze_count() > before[1]
    assert (gc.get_threshold(), gc.get_freeze_count(), len(gc.callbacks)) == before
