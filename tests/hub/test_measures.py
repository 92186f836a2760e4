from hypothesis import given
from hypothesis import strategies as st

from mux.hub.measures import Deadlines


def started_at(now: float, *things: str) -> Deadlines[str]:
    """Return deadlines of 10 s with things started at a time."""
    deadlines: Deadlines[str] = Deadlines(10)
    deadlines.tick(now)
    for thing in things:
        deadlines.start(thing)
    return deadlines


def test_a_thing_is_overdue_when_its_time_is_up() -> None:
    """Not a moment sooner, and once."""
    deadlines = started_at(100, "a")
    assert [deadlines.tick(now) for now in (109.9, 110, 111)] == [[], ["a"], []]


def test_what_is_overdue_comes_in_the_order_it_was_started() -> None:
    """Everybody has the same time."""
    deadlines = started_at(0, "b", "a")
    deadlines.tick(5)
    deadlines.start("c")
    assert deadlines.tick(10) == ["b", "a"]
    assert deadlines.tick(15) == ["c"]


def test_start_gives_no_more_time_to_what_is_running() -> None:
    """A second start is no way to stay."""
    deadlines = started_at(0, "a")
    deadlines.tick(9)
    deadlines.start("a")
    assert deadlines.tick(10) == ["a"]


def test_a_thing_that_was_overdue_may_start_again() -> None:
    """It has its whole time again."""
    deadlines = started_at(0, "a")
    deadlines.tick(10)
    deadlines.start("a")
    assert [deadlines.tick(now) for now in (19, 20)] == [[], ["a"]]


def test_what_is_stopped_is_never_overdue() -> None:
    """Stopping what is not running, or once more, is nothing."""
    deadlines = started_at(0, "a", "b")
    for thing in ("a", "a", "stranger"):
        deadlines.stop(thing)
    assert deadlines.tick(99) == ["b"]


def test_length_and_contents_are_what_is_running() -> None:
    """Overdue things are out."""
    deadlines = started_at(0, "a", "b")
    deadlines.stop("a")
    assert (len(deadlines), list(deadlines)) == (1, ["b"])
    deadlines.tick(10)
    assert (len(deadlines), list(deadlines)) == (0, [])


@given(st.lists(st.tuples(st.sampled_from(["start", "stop", "tick"]), st.integers(0, 4)), max_size=40))
def test_deadlines_are_those_of_a_list_searched_every_time(operations: list[tuple[str, int]]) -> None:
    """Any order of events: the order in the dict always is the order of expiry."""
    deadlines: Deadlines[int] = Deadlines(3)
    model: dict[int, int] = {}
    now = 0
    deadlines.tick(now)
    for what, number in operations:
        if what == "start":
            deadlines.start(number)
            model.setdefault(number, now + 3)
        elif what == "stop":
            deadlines.stop(number)
            model.pop(number, None)
        else:
            now += number
            overdue = {thing for thing, due in model.items() if due <= now}
            assert set(deadlines.tick(now)) == overdue
            model = {thing: due for thing, due in model.items() if thing not in overdue}
        assert set(deadlines) == model.keys()
