"""Which two versions labels compare, as the log tells it: after a promotion, a refusal, a refit and a switch."""

from dataclasses import replace
from typing import Any

from tests.given import History, defined, judged, registered, tried
from understudy.events import (
    LiveCompared,
    ModelDefined,
    PromotionStarted,
    VerdictReached,
    VersionPromoted,
    VersionRefitted,
)
from understudy.state import Pair, Stage

REFUSED_BY = {"gates": [{"name": "data", "passed": True}, {"name": "comparison", "passed": False}]}
ALSO_BY_DATA = {"gates": [{"name": "data", "passed": False}, {"name": "comparison", "passed": False}]}


def promoted(history: History, version: str, *, how: Any = "promotion") -> None:
    replaces = history.state.model("rain").champion
    names: dict[str, Any] = {"model": "rain", "key": f"k{version}{how}", "version": version, "replaces": replaces}
    history.add(PromotionStarted(**names, how=how, by="scheduler", reason=""))
    history.add(VersionPromoted(**names, how=how, ground=None, by="scheduler", reason=""))


def refitted(version: str, of: str, *, passed: bool = True) -> VersionRefitted:
    return VersionRefitted(model="rain", version=version, of=of, evidence="f" * 64, passed=passed, reason="", facts={})


def refused(version: str, champion: str, verdict: Any) -> VerdictReached:
    event = judged(version, champion=champion, passed=False)
    return VerdictReached(**{**vars(event), "verdict": verdict})


def labels_say(version: str, serving: str, pair: int) -> LiveCompared:
    return LiveCompared(
        model="rain",
        version=version,
        serving=serving,
        pair=pair,
        rows=200,
        evidence="a" * 64,
        standing={},
        facts={},
    )


def two_champions() -> History:
    history = History()
    history.add(defined(), registered("1"), tried("1"), judged("1"))
    promoted(history, "1")
    history.add(registered("2"), tried("2"), judged("2", champion="1"))
    promoted(history, "2")
    return history


def pair(history: History) -> Pair:
    found = history.state.model("rain").pair
    assert found is not None
    return found


def test_the_first_champion_is_watched_alone_and_the_next_beside_the_one_before() -> None:
    history = History()
    history.add(defined(), registered("1"), tried("1"), judged("1"))
    promoted(history, "1")
    assert (pair(history).serving, pair(history).other) == ("1", None)

    found = pair(two_champions())

    assert (found.serving, found.other, found.why) == ("2", "1", "promotion")


def test_what_only_the_comparison_refused_shadows_the_champion() -> None:
    history = two_champions()
    history.add(registered("3"), tried("3"), refused("3", "2", REFUSED_BY))

    assert (pair(history).serving, pair(history).other, pair(history).why) == ("2", "3", "refusal")


def test_what_another_gate_refused_does_not_and_the_pair_before_goes_on() -> None:
    history = two_champions()
    before = pair(history)
    history.add(registered("3"), tried("3"), refused("3", "2", ALSO_BY_DATA))

    assert pair(history) == before


def test_the_refit_of_a_refused_candidate_takes_its_place_in_shadow_and_stays_refused() -> None:
    history = two_champions()
    history.add(registered("3"), tried("3"), refused("3", "2", REFUSED_BY), registered("4"), tried("4"))
    history.add(refitted("4", "3"))

    assert (pair(history).other, pair(history).position) == ("4", history.state.position)
    assert history.state.version("rain", "4").stage is Stage.REFUSED
    assert history.state.version("rain", "4").refit_of == "3"


def test_a_refit_stands_on_the_verdict_of_its_candidate() -> None:
    history = two_champions()
    history.add(registered("3"), tried("3"), judged("3", champion="2"), registered("4"), tried("4"))
    history.add(refitted("4", "3"))

    refit, candidate = (history.state.version("rain", version) for version in "43")

    assert refit.stage is Stage.PASSED
    assert refit.judgement == candidate.judgement


def test_a_refit_that_fell_behind_its_candidate_has_no_passing_verdict() -> None:
    history = two_champions()
    history.add(registered("3"), tried("3"), judged("3", champion="2"), registered("4"), tried("4"))
    history.add(refitted("4", "3", passed=False))

    refit = history.state.version("rain", "4")

    assert refit.stage is Stage.REFUSED
    assert refit.judgement is not None
    assert not refit.judgement.passed


def test_what_labels_prefer_passes_and_after_the_switch_the_champion_is_watched_alone() -> None:
    history = two_champions()
    history.add(registered("3"), tried("3"), refused("3", "2", REFUSED_BY))
    history.add(labels_say("3", "2", pair(history).position))

    assert history.state.version("rain", "3").stage is Stage.PASSED
    assert pair(history).settled_at == history.state.position

    promoted(history, "3")

    assert (pair(history).serving, pair(history).other, pair(history).why) == ("3", None, "switch")
    assert pair(history).evidence is not None


def test_a_refusal_in_between_does_not_make_forget_what_labels_have_decided() -> None:
    history = two_champions()
    history.add(labels_say("1", "2", pair(history).position))
    decided = pair(history)
    history.add(registered("3"), tried("3"), refused("3", "2", REFUSED_BY))

    assert pair(history) == decided

    promoted(history, "1", how="demotion")

    assert (pair(history).why, pair(history).evidence) == ("switch", decided.evidence)


def test_after_a_way_back_nothing_is_compared_until_the_next_verdict() -> None:
    history = two_champions()
    promoted(history, "1", how="demotion")

    assert (pair(history).serving, pair(history).other, pair(history).why) == ("1", None, "return")


def test_an_override_without_shared_evidence_is_watched_alone() -> None:
    history = two_champions()
    history.add(registered("3"), tried("3"))
    promoted(history, "3", how="override")

    assert (pair(history).other, pair(history).evidence) == (None, None)


def with_loss(loss: str | None, source: str = "5" * 64) -> ModelDefined:
    event = defined()
    policy = {**event.definition["promotion"], "loss": loss}
    return replace(event, definition={**event.definition, "promotion": policy}, source_digest=source)


def test_a_pair_is_compared_by_one_loss_and_begins_anew_with_another() -> None:
    history = two_champions()
    before = pair(history)
    history.add(with_loss(None), with_loss(None, "6" * 64))
    assert pair(history) == before

    history.add(with_loss("log_loss", "6" * 64))

    assert pair(history) == replace(before, position=history.state.position, time=history.now)


def test_another_function_under_the_same_name_is_another_loss_of_which_the_holdout_says_nothing() -> None:
    history = two_champions()
    history.add(with_loss("own:cost"))
    history.add(with_loss("own:cost", "6" * 64))

    assert (pair(history).position, pair(history).evidence) == (history.state.position, None)
