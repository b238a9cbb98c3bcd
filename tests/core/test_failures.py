"""A champion that fails goes, and one failure is not enough; who kills a process says nothing of its model."""

from datetime import timedelta

import pytest

from tests.given import HERE, History, candidate, defined
from understudy import failures, promotion
from understudy.errors import BadDefinition, NoGround
from understudy.events import AttentionNeeded, Ended, ProcessDied, decode, encode
from understudy.failures import DEATHS_WITHIN, FAILURES, SHARE, WITHIN_S, Tally, grievance, way_back
from understudy.model import Promotion
from understudy.promotion import Wish

LAST_ONLY = Promotion.from_json({"mode": "auto", "bar": 0.8, "floors": {}})


@pytest.fixture
def history() -> History:
    """Version 2 serves, and version 1 did before."""
    made = History()
    made.add(defined())
    for version in ("1", "2"):
        candidate(made, version)
        carry_out(made, Wish(model="rain", version=version, key=f"to-{version}", by="scheduler"))
    return made


def carry_out(history: History, wish: Wish) -> None:
    history.add(*promotion.start(history.state, wish, history.now, HERE))
    history.add(*promotion.commit(history.state, wish.model, wish.key, history.now, HERE))


def died(how: Ended, version: str | None = "2", mark: str = "") -> ProcessDied:
    model = "rain" if version else ""
    return ProcessDied(model=model, version=version, worker="here/1", how=how, reason="a test", mark=mark)


def complaint(history: History) -> str | None:
    return grievance(history.state.model("rain"), history.now)


def after(tally: Tally, good: int, bad: int, *, every_s: float = 0.0, now_s: float = 100.0) -> Tally:
    """Some calls that succeed between each two that fail."""
    for i in range(bad):
        tally.calls += 1
        tally.fail(now_s + i * every_s)
        tally.calls += good
    return tally


def test_a_model_that_fails_now_and_then_goes_on() -> None:
    assert not after(Tally(), good=0, bad=FAILURES - 1).is_failing
    assert not after(Tally(), good=round(1 / SHARE), bad=50).is_failing
    assert not after(Tally(), good=0, bad=FAILURES, every_s=WITHIN_S).is_failing


def test_a_model_that_fails_often_is_failing_and_one_that_only_fails_is_not_worth_asking() -> None:
    half, all_ = after(Tally(), good=1, bad=FAILURES), after(Tally(), good=0, bad=FAILURES)

    assert half.is_failing
    assert not half.answers_nobody
    assert all_.answers_nobody
    assert all_.words == "5 of its last 5 calls failed"


def test_what_a_model_answered_before_it_began_to_fail_does_not_count_for_it() -> None:
    assert after(Tally(calls=1_000_000), good=0, bad=FAILURES).answers_nobody


@pytest.mark.parametrize("how", ["crashed", "out_of_memory", "silent"])
def test_one_process_that_dies_in_a_call_may_be_chance_and_two_within_ten_minutes_are_not(
    history: History, how: Ended
) -> None:
    history.add(died(how))
    assert complaint(history) is None

    history.wait(minutes=5)
    history.add(died(how))
    assert complaint(history) == "2 processes have died in calls of it within 10 minutes"

    history.now += DEATHS_WITHIN - timedelta(minutes=4)
    assert complaint(history) is None


@pytest.mark.parametrize("how", ["killed", "stopped", "exited"])
def test_processes_that_somebody_kills_or_stops_say_nothing_of_the_model_that_they_were_calling(
    history: History, how: Ended
) -> None:
    history.add(*[died(how)] * 20)

    assert complaint(history) is None


def test_a_call_that_never_came_back_needs_no_second_one(history: History) -> None:
    history.add(died("hung"))

    assert complaint(history) == "a call of it did not come back"


def test_deaths_in_calls_of_another_version_or_of_none_are_not_held_against_the_champion(history: History) -> None:
    history.add(died("hung", "1"), died("crashed", None), died("crashed", None))

    assert complaint(history) is None
    assert "" not in history.state.models


def test_a_failing_champion_is_followed_by_the_one_before_it_once_however_many_notice(history: History) -> None:
    history.add(died("hung"))
    wishes = [way_back(history.state.model("rain"), "a test says so") for _ in range(3)]

    for wish in wishes:
        assert wish is not None
        carry_out(history, wish)

    model = history.state.model("rain")
    assert (model.champion, len(model.promotions)) == ("1", 3)
    assert (model.promotions[-1].by, model.promotions[-1].how) == ("api", "demotion")
    assert model.promotions[-1].reason == "Version 2 fails while it serves: a test says so."
    assert complaint(history) is None, "version 1 has done nothing"


def test_a_version_that_went_because_it_failed_does_not_return_by_itself(history: History) -> None:
    wish = way_back(history.state.model("rain"), "a test says so")
    assert wish is not None
    carry_out(history, wish)
    again = Wish(model="rain", version="2", key="again", by="scheduler")

    with pytest.raises(NoGround, match="is barred since it was taken back"):
        promotion.start(history.state, again, history.now, HERE)

    by_hand = Wish(model="rain", version="2", key="by-hand", by="operator")
    assert promotion.start(history.state, by_hand, history.now, HERE) != (), "a person knows what has changed"


def test_the_first_champion_of_all_and_one_that_is_to_be_kept_stay_and_a_person_is_told_once(history: History) -> None:
    carry_out(history, Wish(model="rain", version="1", key="back", by="operator", how="demotion"))
    model = history.state.model("rain")

    assert way_back(model, "it raised") is None
    notes = failures.note(history.state, "rain", "1", "it raised", failures.why_it_stays(model))
    assert [type(note) for note in notes] == [AttentionNeeded]
    assert notes[0].reason == (
        "Version 1 fails while it serves: it raised. It stays: there is no earlier champion to go back to."
    )
    history.add(*notes)
    assert failures.note(history.state, "rain", "1", "it raised again", "It stays.") == ()


def test_a_policy_may_say_that_a_failing_champion_stays(history: History) -> None:
    kept = defined()
    history.add(
        type(kept)(
            model="rain",
            definition={**kept.definition, "promotion": Promotion(on_failure="keep").to_json()},
            source_digest=kept.source_digest,
            by="scheduler",
        )
    )

    assert way_back(history.state.model("rain"), "it raised") is None
    assert "on_failure" in failures.why_it_stays(history.state.model("rain"))


def test_a_policy_from_before_there_was_a_choice_reads_as_the_default_and_is_written_as_it_was() -> None:
    assert LAST_ONLY.on_failure == "rollback"
    assert "on_failure" not in LAST_ONLY.to_json()
    assert Promotion.from_json(Promotion(on_failure="keep").to_json()).on_failure == "keep"
    with pytest.raises(BadDefinition, match="nothing that may follow"):
        Promotion(on_failure="panic")  # type: ignore[arg-type]  # that is what is tested


def test_a_champion_that_came_back_by_itself_is_not_followed_by_the_one_before_it(history: History) -> None:
    candidate(history, "3")
    carry_out(history, Wish(model="rain", version="3", key="to-3", by="scheduler"))
    back = way_back(history.state.model("rain"), "it fails")
    assert back is not None
    carry_out(history, back)

    model = history.state.model("rain")

    assert model.champion == "2"
    assert way_back(model, "it fails as well") is None
    assert "what is asked may be at fault" in failures.why_it_stays(model)


def test_a_death_that_is_told_again_is_one_death_and_those_from_before_deaths_had_names_are_counted_as_told(
    history: History,
) -> None:
    history.add(*[died("crashed", mark="7-a")] * 5, died("crashed", "1", mark="7-a"))
    assert complaint(history) is None
    assert len(history.state.model("rain").deaths) == 2, "it was in a call of either"

    history.add(died("crashed", mark="7-b"))
    assert complaint(history) is not None

    nameless = decode("process.died", 1, encode(died("crashed")).replace('"mark":"",', ""), position=1)
    assert nameless == died("crashed")
