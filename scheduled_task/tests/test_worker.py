from pathlib import Path

import pytest

from scheduled_task.asking import Asking
from scheduled_task.claim import Claim, Hold, LetGo
from scheduled_task.job import Ended, Job
from scheduled_task.tests.given import DEFINITION, stream
from scheduled_task.tests.site import Site, working
from scheduled_task.train import carry_out
from tests.adapters.stream import at
from understudy.adapters.folder_store import FolderStore
from understudy.errors import StaleClaim
from understudy.events import moment, timestamp

HANGS = "import time; time.sleep(3600)"
CRASHES = "import os, sys; print('out of luck', file=sys.stderr, flush=True); os._exit(3)"
TAKES_ALL_MEMORY = "bytearray(100 * 2**30)"


def broken(statement: str) -> str:
    """A definition whose source does something else than give rows."""
    source = f"class Broken:\n    def get_dataframe(self, as_of):\n        {statement}\n"
    return source + DEFINITION.replace('Csv("rows.csv", time="at")', "Broken()")


def claim(site: Site) -> Claim:
    given = site.api.post_once("/runs/claim", {"claimant": "a test", "wait_s": 5})
    assert given is not None
    return Claim(**given)


def finish(site: Site, taken: Claim) -> None:
    site.api.post(f"/runs/{taken.id}/finish", {"token": taken.token, "outcome": "skipped", "reason": "a test"})


def test_a_run_goes_from_its_claim_to_a_promotion_and_the_next_one_compares_with_that(site: Site) -> None:
    site.arrive(stream(1000))
    site.define()
    with working(site):
        first = site.ended(site.ask("stream", "first"))
        site.arrive(stream(1400))
        second = site.ended(site.ask("stream", timestamp(at(0))))

    assert (first["state"], first["reason"]) == ("succeeded", "Version 1 was promoted.")
    assert first["result"]["bundle"] == site.api.get("/models/stream/versions/1")["digest"]
    assert site.api.get("/current_model", model="stream")["promoted_by"] == "scheduler"
    assert second["verdict"]["champion"] == "1"
    assert "champion_trouble" not in second["result"]
    assert site.scratch_folders() == []


def test_a_version_under_propose_waits_for_a_person(site: Site) -> None:
    site.arrive(stream(1000), "proposed")
    site.define("proposed", DEFINITION.replace('refit="off"', 'mode="propose", refit="off"'))

    with working(site):
        run = site.ended(site.ask("proposed", "first"))

    assert (run["state"], run["reason"]) == ("succeeded", "Version 1 passed and waits for a person.")
    assert site.api.get("/models/proposed")["champion"] is None


@pytest.mark.fault(68)
def test_a_version_that_learnt_nothing_is_refused_in_the_words_of_the_gates(site: Site) -> None:
    site.arrive(
        stream(1000).assign(label=lambda frame: frame["label"].sample(frac=1, random_state=1).to_numpy()), "noise"
    )
    site.define("noise")

    with working(site):
        run = site.ended(site.ask("noise", "first"))

    assert run["state"] == "refused"
    assert run["reason"] == " ".join(gate["reason"] for gate in run["verdict"]["gates"] if not gate["passed"])
    assert site.api.get("/models/noise")["champion"] is None


@pytest.mark.fault(67)
def test_a_training_that_dies_fails_its_run_and_the_worker_goes_on(site: Site) -> None:
    dying = {"crashes": CRASHES, "greedy": TAKES_ALL_MEMORY, "unlucky": "raise OSError('the source is down')"}
    for name, statement in dying.items():
        site.define(name, broken(statement))

    with working(site):
        asked = {name: site.ask(name, "first") for name in dying}
        runs = {name: site.ended(run) for name, run in asked.items()}

    assert [run["state"] for run in runs.values()] == ["failed"] * 3
    assert runs["crashes"]["reason"] == "Its process ended with exit code 3. out of luck"
    assert runs["greedy"]["reason"].startswith("Training needed more than the 4096 MiB")
    assert "the source is down" in runs["unlucky"]["reason"]
    assert site.scratch_folders() == []


@pytest.mark.fault(67)
def test_a_training_that_hangs_is_ended_at_its_time_limit(site: Site) -> None:
    impatient = Site(site.installed, run_timeout_s=3.0)
    site.define("hangs", broken(HANGS))

    with working(impatient):
        run = site.ended(site.ask("hangs", "first"))

    impatient.api.close()
    assert (run["state"], run["reason"]) == ("failed", "Training took longer than 3 s.")
    assert site.scratch_folders() == []


def test_a_run_that_the_scheduler_itself_cannot_carry_out_fails_at_once_with_the_reason(site: Site) -> None:
    site.define("unplaced", broken(CRASHES))
    scratch, aside = site.settings.scratch, site.settings.scratch.with_name("aside")
    scratch.mkdir(parents=True, exist_ok=True)
    scratch.rename(aside)
    scratch.write_text("a file where the folder should be")

    with working(site):
        run = site.ended(site.ask("unplaced", "first"))
    scratch.unlink()
    aside.rename(scratch)

    assert (run["state"], run["attempt"]) == ("failed", 1)
    assert run["reason"].startswith("The scheduler could not carry it out: ")


@pytest.fixture(scope="module")
def champion(site: Site) -> str:
    """A model that is served, and whose rows have not changed since."""
    site.arrive(stream(1000), "served")
    site.define("served")
    with working(site):
        assert site.ended(site.ask("served", "first"))["state"] == "succeeded"
    return "served"


@pytest.fixture
def now(site: Site, champion: str) -> int:
    """A minute that is later than all its slots so far."""
    last = site.api.get(f"/models/{champion}")["last_slot"]
    return 0 if last is None else round((moment(last) - at(0)).total_seconds() / 60) + 10


@pytest.mark.fault(63)
def test_a_slot_that_comes_due_while_its_model_is_at_work_is_skipped_with_an_event(
    site: Site, champion: str, now: int
) -> None:
    run = site.ask(champion, timestamp(at(now)))
    asking = Asking(site.connect(), now=lambda: at(now + 1.5))

    asking.timed(champion)

    asking.close()
    finish(site, claim(site))
    due = timestamp(at(now + 1))
    assert site.events("slot.skipped", champion)[-1] == {
        "model": champion,
        "job": "train",
        "slot": due,
        "reason": f"{run} was at work",
    }
    assert due not in [asked["slot"] for asked in site.events("run.requested", champion)]


@pytest.mark.fault(64)
def test_slots_that_nobody_asked_for_are_one_event_with_their_number_and_one_run(
    site: Site, champion: str, now: int
) -> None:
    site.ask(champion, timestamp(at(now)))
    finish(site, claim(site))
    asking = Asking(site.connect(), now=lambda: at(now + 60.5))

    asking.timed(champion)
    asking.timed(champion)

    asking.close()
    finish(site, claim(site))
    missed = site.events("slots.missed", champion)[-1]
    assert (missed["first"], missed["last"], missed["count"]) == (timestamp(at(now + 1)), timestamp(at(now + 59)), 59)
    asked = [run["slot"] for run in site.events("run.requested", champion)]
    assert asked[-2:] == [timestamp(at(now)), timestamp(at(now + 60))]


def test_a_first_attempt_is_asked_for_once_and_again_after_its_pause(site: Site) -> None:
    site.define("barren", broken("raise OSError"))
    asking = Asking(site.connect())

    asking.rest({"barren"})
    asking.rest({"barren"})
    with working(site):
        site.ended("barren-1")
    asking.rest({"barren"})
    asking.hurry("barren")
    asking.rest({"barren"})

    asking.close()
    finish(site, claim(site))
    assert [run["slot"] for run in site.events("run.requested", "barren")] == ["first", "first/2"]


@pytest.mark.fault(60)
def test_a_run_that_somebody_else_holds_by_now_is_let_go_of(site: Site) -> None:
    site.define("lost", broken("raise OSError"))
    site.ask("lost", "first")
    taken = claim(site)

    with Hold(taken, site.connect(retries=0), every_s=0.05) as hold:
        finish(site, taken)
        lost = hold.over.wait(10)

    assert lost
    with pytest.raises(LetGo):
        hold.until_answered(lambda: None)


def test_a_write_with_a_token_that_holds_no_more_lets_go(site: Site) -> None:
    site.define("late", broken("raise OSError"))
    site.ask("late", "first")
    taken = claim(site)
    finish(site, taken)

    silent, late = Hold(taken, site.connect(retries=0)), {"token": taken.token, "outcome": "succeeded"}

    with pytest.raises(LetGo) as let_go:
        silent.until_answered(lambda: site.api.post(f"/runs/{taken.id}/finish", late))

    assert isinstance(let_go.value.__cause__, StaleClaim)


@pytest.mark.fault(62)
def test_an_attempt_that_died_after_its_verdict_is_carried_on_without_training_again(site: Site) -> None:
    site.arrive(stream(1000), "resumed")
    site.define("resumed")
    run = site.ask("resumed", "first")
    died = claim(site)
    judged_by(site, died)

    with working(site):  # the API takes the run back after ten seconds of silence
        ended = site.ended(run)

    assert (ended["state"], ended["attempt"], ended["reason"]) == ("succeeded", 2, "Version 1 was promoted.")
    assert len(site.events("version.registered", "resumed")) == 1
    assert len(site.events("version.judged", "resumed")) == 1
    assert {"source", "data", "cut", "params", "bundle"} <= ended["result"].keys()


def judged_by(site: Site, taken: Claim) -> None:
    """Do what a worker does, up to the verdict, and then nothing more."""
    settings = site.settings
    job = Job(
        run=taken.run,
        model=taken.model,
        source_digest=taken.source_digest,
        champion=taken.champion,
        store=str(settings.store),
        definitions=str(settings.definitions),
        holdouts=str(settings.holdouts),
        memory_mb=settings.run_memory_mb,
    )
    with Hold(taken, site.connect(retries=0)):  # training takes longer than the silence allowed where much else is done
        trained: Ended = carry_out(job, FolderStore(settings.store), Path(settings.scratch / "by-hand"))
    route = f"/models/{taken.model['name']}/versions"
    site.api.post(f"/runs/{taken.id}/heartbeat", {"token": taken.token})
    site.api.post(route, {"digest": trained.bundle, **taken.ticket})
    site.api.post(f"{route}/1/evidence", {"evidence": trained.evidence, **taken.ticket})
