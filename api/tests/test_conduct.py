"""What a version does while it serves, as its own process sees it: who is beyond a limit is accused, and goes."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from queue import Empty
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from api.answered import Answered
from api.breaker import Breakers
from api.conduct import CALLS_AT_ONCE, ROWS_AT_ONCE, TOLD_EVERY_S, Conduct, Watched, failures_since
from api.cost import Cost
from api.journal import Journal
from api.judging import registered as register
from api.live import retrained
from api.mark import Marks
from api.serving import Served
from api.tests import given
from tests import failing
from tests.given import HERE, History, candidate, defined, judged, registered, tried
from tests.workers import wait_for
from understudy import Promotion, promotion
from understudy.adapters.bundle import unpack
from understudy.adapters.folder_store import FolderStore
from understudy.adapters.folders import make_folders
from understudy.adapters.runtime import open_bundle
from understudy.adapters.sqlite_log import SqliteLog
from understudy.calm import COOL_DOWN
from understudy.conduct import LONG_SECONDS, SECONDS
from understudy.errors import ModelFailed
from understudy.events import ModelDefined
from understudy.failures import FAILURES, Tally, way_back
from understudy.fingerprint import digest_of
from understudy.live import Decline
from understudy.parity import Answer
from understudy.policy import Limits
from understudy.promotion import Wish
from understudy.settings import Settings

HUGE = {"x": 1e15, "y": -1e15}
"""Whose cubes are beyond float32: a model that adds them up answers with infinity less infinity."""
ROW = {"x": 0.25, "y": 0.5}


class Scene:
    """A version of `rain` in this process, and what is seen of it, second by second."""

    def __init__(self, folder: Path, limits: Limits, data: bytes) -> None:
        self.store, self.breakers, self.history = FolderStore(folder), Breakers(Marks(None, "a test")), History()
        self.log = SqliteLog(folder / "events.db")
        self.conduct = Conduct(self.breakers, Journal(self.log), self.store)
        definition = {"promotion": Promotion(limits=limits).to_json()}
        self.history.add(ModelDefined(model="rain", definition=definition, source_digest="", by="scheduler"))
        runtime = open_bundle(data, digest=digest_of(data), trees=True)
        breaker = self.breakers.of("rain", "1")
        self.served = Served("rain", "1", runtime, cost=Cost(0.0, 0.0), loop_limit_s=1.0, breaker=breaker)
        self.now_s = 0.0

    def answer(self, values: Any, *, took_s: float = 0.001, batch: bool = False) -> None:
        """The model is asked, and what it says goes the way of what was answered."""
        matrix = np.asarray(values, np.float32)
        output, n = self.served.call(matrix), len(matrix)
        latencies = [took_s] if batch else [took_s] * n
        call = Answered(self.served, 0, b"0" * 11, matrix.tobytes(), n, output, latencies, None)
        self.conduct.seen([call], len(latencies))

    def fail(self, values: Any) -> None:
        with pytest.raises(ModelFailed):
            self.served.call(np.asarray(values, np.float32))

    def look(self) -> str | None:
        """A second later; the newest thing that is said of it."""
        self.now_s += 1
        self.conduct.look_at(self.history.state, self.now_s)
        said = None
        while True:
            try:
                heard = self.breakers.heard.get_nowait()
            except Empty:
                return said
            assert heard is not None
            assert heard[:2] == ("rain", "1")
            said = heard[2]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Any]:
    """Makes one, of a regression that answers with the number that it is given."""
    made: list[Scene] = []

    def make(limits: Limits, data: bytes | None = None) -> Scene:
        made.append(Scene(tmp_path, limits, data or failing.well()))
        made[-1].look()  # so that it knows what to look into
        return made[-1]

    yield make
    for one in made:
        one.log.close()


def test_answers_that_cannot_be_true_are_noticed_and_said_again_after_a_while(scene: Any) -> None:
    here = scene(Limits(outputs=(0, 10)))

    said = []
    for _ in range(SECONDS + round(TOLD_EVERY_S)):
        here.answer([[2.0]] * 90 + [[50.0]] * 10)
        said.append(here.look())

    words = "30 of 300 answers were outside of 0 to 10, and at most 1 % may"
    assert said == [None] * (SECONDS - 1) + [words] + [None] * (round(TOLD_EVERY_S) - 1) + [words]


def test_a_model_without_limits_has_none_of_its_answers_looked_into_and_its_failures_counted(scene: Any) -> None:
    here = scene(Limits(), failing.not_a_number())

    said = []
    for _ in range(SECONDS):
        here.answer([[2.0]] * 90)
        for _ in range(2):
            here.fail([[50.0]])
        assert all(not sampled for _, _, sampled in here.conduct._waiting)
        said.append(here.look())

    assert said[-1] == "6 of its last 276 answers were not finite, and at most 1 % may"


def test_a_model_that_raises_is_judged_by_the_share_that_may_fail(scene: Any) -> None:
    here = scene(Limits(error_share=0.01), failing.raising())

    said = []
    for _ in range(SECONDS):
        here.answer([[2.0]] * 90)
        for _ in range(2):
            here.fail([[50.0]])
        said.append(here.look())

    assert said[-1] == "6 of its last 276 requests failed, and at most 1 % may"


def test_failures_are_counted_on_where_a_breaker_has_begun_anew() -> None:
    watched, before, anew = Watched(), Tally(failed=7, not_finite=2), Tally(failed=1)

    found = [failures_since(watched, tally) for tally in (before, before, anew)]

    assert found == [(7, 2), (0, 0), (1, 0)]


def test_slow_answers_are_noticed_by_requests_of_one_row(scene: Any) -> None:
    here = scene(Limits(latency_ms=5))

    for _ in range(LONG_SECONDS):
        here.answer([[2.0]] * 20, took_s=0.001)
        here.answer([[2.0]] * 2000, took_s=1.0, batch=True)
        assert here.look() is None
    said = []
    for _ in range(LONG_SECONDS):
        here.answer([[2.0]] * 20, took_s=0.0061)
        said.append(here.look())

    assert next(filter(None, said)).startswith("the median of its answers took")


def test_of_very_many_answers_some_are_looked_into(scene: Any) -> None:
    here = scene(Limits(outputs=(0, 10)))
    calls = [
        Answered(here.served, 0, b"0" * 11, b"", 1, np.array([[50.0]], np.float32), [0.001], None) for _ in range(1000)
    ]

    here.conduct.seen(calls, len(calls))
    ((_, requests, sampled),) = here.conduct._waiting
    here.answer([[50.0]] * 10 * ROWS_AT_ONCE, batch=True)
    here.look()
    (look,) = here.conduct._watched[here.served.breaker].looks

    assert (requests, look.answered) == (1000, 1001)
    assert len(sampled) <= CALLS_AT_ONCE
    assert look.rows == look.outside == ROWS_AT_ONCE


def test_predicted_classes_are_compared_with_those_of_the_holdout(scene: Any) -> None:
    data = given.bundle()
    here = scene(Limits(class_sd=5), data)
    evidence = given.evidence(here.store, data, None, rows=given.Rows(400, 400))
    here.history.add(registered("1"), tried("1"), replace(judged("1"), evidence=evidence))
    here.look()

    said = []
    for second in range(LONG_SECONDS):
        rows = given.Rows(second * 100, 100).frame()[["x", "y"]].to_numpy()
        here.answer(rows)
        said.append(here.look())
    for _ in range(LONG_SECONDS):
        here.answer([[0.9, 0.9]] * 100)
        said.append(here.look())

    assert said[:LONG_SECONDS] == [None] * LONG_SECONDS
    first = next(filter(None, said))
    assert first.startswith("it answers ")
    assert "on the holdout" in first


def test_answers_in_pythons_values_are_read_as_those_in_arrays(scene: Any) -> None:
    here = scene(Limits(outputs=(0, 10)))
    for _ in range(SECONDS):
        call = Answered(here.served, 0, b"0" * 11, [], 100, Answer([50.0] * 100, None), [0.001] * 100, None)
        here.conduct.seen([call], 100)
        said = here.look()

    assert said == "300 of 300 answers were outside of 0 to 10, and at most 1 % may"


def test_what_is_seen_while_nobody_looks_has_an_end(scene: Any) -> None:
    here = scene(Limits())
    call = Answered(here.served, 0, b"0" * 11, b"", 1, np.zeros((1, 1), np.float32), [0.001], None)

    for _ in range(5000):
        here.conduct.seen([call], 1)

    assert len(here.conduct._waiting) <= 1000


# Just after a way back


def test_a_training_that_could_not_be_promoted_yet_is_not_asked_for_yet() -> None:
    history = History()
    history.add(defined())
    for version in "12":
        candidate(history, version)
        carry_out(history, Wish(model="rain", version=version, key=version, by="scheduler"))
    carry_out(history, way_back(history.state.model("rain"), "it raised"))
    pair, worse = history.state.model("rain").pair, Decline(since=0, until=200, loss=0.4, before=0.2, errors=5.0)
    assert pair is not None

    assert retrained(history.state, "rain", pair, worse, history.now) == []
    history.now += COOL_DOWN
    kinds = [event.kind for event in retrained(history.state, "rain", pair, worse, history.now)]
    assert kinds == ["attention.needed", "run.requested"]


# In a running API


@pytest.mark.fault(69)
def test_the_fifth_version_of_a_day_that_fails_after_its_promotion_is_the_last_until_a_person_acts(
    tmp_path: Path,
) -> None:
    """Four of them did so earlier today; nobody waits for that here. The fifth does it now, with everything real."""
    champion, sixth = given.bundle(shuffled=True), given.bundle()
    fifth = given.bundle(make_pipeline(PolynomialFeatures(3), LogisticRegression()))
    seed(tmp_path, champion)
    with given.api(tmp_path) as api:
        assert candidate_of(api, fifth, champion) == "6"
        assert api.promote("6", role="scheduler").status_code == 200
        for _ in range(FAILURES):
            assert api.client.post("/predict", json=HUGE).status_code == 500
        wait_for(lambda: api.client.get("/current_model").json()["version"] == "1", "the way back")

        found = api.client.get("/models/rain").json()
        assert found["attention"][0]["reason"] == found["unrest"]
        assert found["unrest"].startswith("5 of the newest 6 automatic changes of rain within a day were taken back.")
        versions = api.client.get("/models/rain/versions").json()["items"]
        assert [item["version"] for item in versions if item["barred"]] == [*"65432"]
        assert candidate_of(api, sixth, champion) == "7"
        refused = api.promote("7", role="scheduler")
        assert (refused.status_code, refused.json()["code"]) == (409, "no_ground")
        assert "until a person acts" in refused.json()["detail"]
        assert api.client.post("/predict", json=ROW).json()["version"] == "1"

        assert api.promote("7").status_code == 200, "a person may"
        assert api.client.get("/models/rain").json()["unrest"] is None
        assert api.client.get("/models/rain/versions/6").json()["barred"].startswith("Version 6 fails while it serves")
        assert api.client.post("/predict", json=ROW).json()["version"] == "7"


def candidate_of(api: given.Api, data: bytes, champion: bytes) -> str:
    """Register a version that is better than the champion, and have it judged."""
    version = str(api.register(data).json()["version"])
    judged = api.judge(version, given.evidence(api.store, data, champion, rows=next(FRESH)))
    assert judged.json()["passed"], judged.text
    return version


FRESH = (given.Rows(400 + 200 * i, 200) for i in count())


def seed(home: Path, champion: bytes) -> None:
    """Write the log of a day in which version 1 came, and four others that failed."""
    settings, history = Settings(home=home), History(now=datetime.now(UTC) - timedelta(hours=23))
    make_folders(settings.var, settings.store)
    digest, manifest = FolderStore(settings.store).put(champion), unpack(champion, digest=digest_of(champion)).manifest
    definition = given.definition()["definition"]
    history.add(ModelDefined(model="rain", definition=definition, source_digest="5" * 64, by="scheduler"))
    first = register(history.state, "rain", digest, len(champion), manifest, None, "scheduler")
    history.add(first, replace(tried("1"), digest=digest), judged("1"))
    carry_out(history, Wish(model="rain", version="1", key="1", by="scheduler"))
    for version in ("2", "3", "4", "5"):
        history.wait(hours=3)
        candidate(history, version)
        carry_out(history, Wish(model="rain", version=version, key=version, by="scheduler"))
        carry_out(history, way_back(history.state.model("rain"), "it raised"))
    with closing(SqliteLog(settings.events_file)) as log:
        for entry in history.entries:
            log.append(entry.event, now=entry.time)


def carry_out(history: History, wish: Wish | None) -> None:
    assert wish is not None
    history.add(*promotion.start(history.state, wish, history.now, HERE))
    history.add(*promotion.commit(history.state, wish.model, wish.key, history.now, HERE))
