"""Who is alive is judged by counters that move, on the reader's own clock."""

from understudy.liveness import SILENT_AFTER_S, Watch
from understudy.ports import Beat


def beats(**counters: int) -> dict[str, Beat]:
    return {who: Beat(counter, {}) for who, counter in counters.items()}


def test_a_counter_that_moves_is_alive_and_one_that_stands_still_for_ten_seconds_is_not() -> None:
    watch = Watch()
    for second in range(31):
        watch.see(beats(moves=second, stands=7), float(second))

    assert not watch.is_silent("moves", 30.0, since_s=0.0)
    assert watch.is_silent("stands", 30.0, since_s=0.0)
    assert not watch.is_silent("stands", SILENT_AFTER_S - 0.001, since_s=0.0)
    assert watch.is_silent("stands", SILENT_AFTER_S, since_s=0.0)


def test_nobody_is_silent_before_it_was_expected_for_ten_seconds() -> None:
    """A claim that was just given has not beaten yet; a reader that has just started has seen nobody yet."""
    watch = Watch()

    assert not watch.is_silent("never seen", 1009.9, since_s=1000.0)
    assert watch.is_silent("never seen", 1010.0, since_s=1000.0)

    watch.see(beats(old=3), 5.0)
    assert not watch.is_silent("old", 1009.9, since_s=1000.0)


def test_a_reader_that_starts_gives_everybody_the_full_time_from_its_first_look() -> None:
    watch = Watch()

    watch.see(beats(a=500), 100.0)

    assert not watch.is_silent("a", 109.9, since_s=0.0)
    assert watch.is_silent("a", 110.0, since_s=0.0)


def test_a_counter_that_begins_anew_has_moved() -> None:
    watch = Watch()
    watch.see(beats(a=500), 0.0)

    watch.see(beats(a=1), 20.0)

    assert not watch.is_silent("a", 25.0, since_s=0.0)


def test_who_is_gone_from_the_pulse_is_silent_ten_seconds_after_it_was_expected() -> None:
    watch = Watch()
    watch.see(beats(a=1, b=1), 0.0)

    watch.see(beats(b=2), 9.0)

    assert watch.is_silent("a", 12.0, since_s=0.0)
    assert not watch.is_silent("b", 12.0, since_s=0.0)


def test_looking_again_at_a_counter_that_stands_still_does_not_revive_it() -> None:
    watch = Watch()
    for tenth in range(200):
        watch.see(beats(a=1), tenth / 10)

    assert watch.is_silent("a", 20.0, since_s=0.0)
