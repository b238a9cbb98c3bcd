"""What the doctor says of each promise, and that its line turns where the promise is broken here."""

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.given import HERE, History, SqliteSite, candidate, defined, judged, registered, tried
from tests.services import Installation, free_port, installation
from understudy.adapters.audit import Audit, audit, file_pages
from understudy.adapters.commands import checkups, promises
from understudy.adapters.commands.checkups import Checkup
from understudy.adapters.commands.promises import Found, Grounds
from understudy.adapters.commands.seen import asked
from understudy.adapters.folder_store import FolderStore
from understudy.events import (
    How,
    LiveCompared,
    Role,
    RunClaimed,
    RunFinished,
    RunRequested,
    VersionPromoted,
    VersionRefitted,
)
from understudy.settings import Settings


def promoted(
    history: History,
    version: str,
    *,
    ground: int | None = None,
    how: How = "promotion",
    reason: str = "",
    by: Role = "operator",
) -> VersionPromoted:
    return VersionPromoted(
        model="rain",
        key=f"k{len(history.entries)}",
        version=version,
        replaces=history.state.model("rain").champion,
        how=how,
        ground=ground,
        by=by,
        reason=reason,
    )


def serving() -> History:
    """A first champion on its verdict: position 5 of the log."""
    history = History()
    history.add(defined())
    candidate(history, "1")
    history.add(promoted(history, "1", ground=4))
    return history


def grounds_of(history: History) -> Grounds:
    grounds = Grounds()
    for entry in history.entries:
        grounds.note(entry)
    return grounds


def worker(pid: int, **changes: Any) -> dict[str, Any]:
    """What `/ready` says of a worker that serves the first champion."""
    told = {"starting": False, "position": 5, "serves": {"rain": 5}, "ready": [], "unable": {}, "lacks": {}}
    return {"worker": f"elsewhere/{pid}/00", **told, **changes}


def ready(*workers: Mapping[str, Any], age_s: float = 0.1) -> dict[str, Any]:
    return {"ready": True, "reason": "ready", "age_s": age_s, "workers": list(workers)}


def found(home: Path, history: History | None = None, told: Mapping[str, Any] | None = None, **changes: Any) -> Found:
    history = history or serving()
    given = Found(
        settings=Settings(home=home, api_workers=2),
        now=history.now,
        ready=told,
        log=Audit(history.state),
        grounds=grounds_of(history),
        url=f"http://127.0.0.1:{free_port()}",
        token=None,
        environment=HERE,
        as_pinned=True,
    )
    return replace(given, **changes)


def line(number: int, given: Found) -> Checkup:
    return list(promises.examined(given))[number - 1]


def test_each_promise_has_one_line_and_nothing_running_makes_it_unknown_rather_than_broken(tmp_path: Path) -> None:
    lines = list(promises.examined(found(tmp_path, told=None, log=None)))

    assert [one.name.split(":")[0] for one in lines] == [f"promise {number}" for number in range(1, 9)]
    assert [one.known for one in lines] == [False] * 7 + [True]
    assert all(one.ok for one in lines)
    assert lines[0].found == "unknown: the API does not answer"


def test_an_api_that_does_not_tell_of_workers_leaves_that_unknown(tmp_path: Path) -> None:
    given = found(tmp_path, told={"ready": True, "reason": "ready", "age_s": 0.1})

    assert (line(1, given).known, line(2, given).known) == (False, False)


# ── 1 and 2: workers ─────────────────────────────────────────────────────────────────────────────


def test_workers_that_all_serve_the_newest_promotion_keep_the_first_two(tmp_path: Path) -> None:
    given = found(tmp_path, told=ready(worker(1), worker(2)))

    assert (line(1, given).ok, line(2, given).ok) == (True, True)
    assert line(1, given).found.startswith("2 workers answer")


@pytest.mark.parametrize("told", [ready(), ready(worker(1, starting=True))])
def test_where_no_worker_answers_the_second_is_unknown(tmp_path: Path, told: dict[str, Any]) -> None:
    given = found(tmp_path, told=told)

    assert (line(2, given).known, line(2, given).found) == (False, "unknown: no worker answers")
    assert not line(1, given).ok


def test_a_single_worker_is_told_what_it_cannot_do(tmp_path: Path) -> None:
    given = found(tmp_path, told=ready(worker(1)), settings=Settings(home=tmp_path, api_workers=1))

    assert line(1, given).ok
    assert "nobody does" in line(1, given).found


@pytest.mark.parametrize(
    ("number", "told", "said"),
    [
        (1, ready(worker(1)), "1 of 2 workers answer"),
        (1, ready(worker(1), worker(2, starting=True)), "1 of 2 workers answer"),
        (1, ready(worker(1), worker(2, lacks={"rain": "no blob"})), "elsewhere/2/00 does not serve rain: no blob"),
        (2, ready(worker(1), worker(2, serves={"rain": 4})), "elsewhere/2/00 answers with an older version of rain"),
        (2, ready(worker(1), worker(2, serves={})), "elsewhere/2/00 answers with an older version of rain"),
        (2, ready(worker(1), worker(2), age_s=5.5), "was last read 6 s ago"),
    ],
)
def test_a_worker_that_is_missing_or_behind_breaks_a_promise(
    tmp_path: Path, number: int, told: dict[str, Any], said: str
) -> None:
    one = line(number, found(tmp_path, told=told))

    assert not one.ok
    assert said in one.found
    assert one.remedy


# ── 3: the log ───────────────────────────────────────────────────────────────────────────────────


def test_a_log_that_was_changed_breaks_the_third(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    settings.var.mkdir()
    site = SqliteSite(settings.var)
    with closing(site.open()) as log:
        log.append(defined(), registered("1"), tried("1"))
    whole = line(3, found(tmp_path, log=audit(file_pages(site.file))))

    site.doctor("UPDATE events SET data = replace(data, 'scheduler', 'operator') WHERE position = 2")
    changed = line(3, found(tmp_path, log=audit(file_pages(site.file))))

    assert whole.ok
    assert whole.found.startswith("verified to position 3, hash ")
    assert "not in WAL mode" in whole.found
    assert (changed.ok, changed.found) == (False, "The event log was changed at event 2.")


def test_a_log_in_wal_mode_breaks_the_third(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    settings.var.mkdir()
    with closing(sqlite3.connect(settings.events_file)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE t (x)")

        assert "WAL mode" in line(3, found(tmp_path)).found
        assert not line(3, found(tmp_path)).ok


# ── 4: grounds ───────────────────────────────────────────────────────────────────────────────────


def test_promotions_are_counted_by_their_grounds(tmp_path: Path) -> None:
    history = serving()
    history.add(registered("2"), tried("2"))
    history.add(promoted(history, "2", how="override", reason="the source was mended"))
    history.add(promoted(history, "1", how="demotion", reason="it was not"))

    one = line(4, found(tmp_path, history))

    assert one.ok
    assert "passed: 3 (by a verdict 1, by an override with a reason 1, by a demotion 1)" in one.found


@pytest.mark.parametrize(
    ("trial", "verdict", "promotion", "said"),
    [
        (False, True, {"ground": 8}, "had passed no trial"),
        (None, True, {"ground": 8}, "had passed no trial"),
        (True, False, {"ground": 8}, "stands on no passing verdict"),
        (True, True, {"ground": None}, "stands on no passing verdict"),
        (True, True, {"ground": 4}, "stands on no passing verdict"),
        (True, True, {"how": "override", "reason": " "}, "an override without a reason"),
    ],
)
def test_a_promotion_without_its_ground_breaks_the_fourth(
    tmp_path: Path, trial: bool | None, verdict: bool, promotion: dict[str, Any], said: str
) -> None:
    history = serving()
    history.add(registered("2"))
    history.add(defined() if trial is None else tried("2", passed=trial))
    history.add(judged("2", champion="1", passed=verdict))
    history.add(promoted(history, "2", **promotion))

    one = line(4, found(tmp_path, history))

    assert not one.ok
    assert said in one.found
    assert "version 2 of rain" in one.found


def refitted(version: str, of: str, *, passed: bool = True) -> VersionRefitted:
    return VersionRefitted(
        model="rain", version=version, of=of, evidence="e" * 64, passed=passed, reason="a test says so", facts={}
    )


def compared(version: str, serving: str, *, crossed: int | None = 40) -> LiveCompared:
    return LiveCompared(
        model="rain",
        version=version,
        serving=serving,
        pair=1,
        rows=40,
        evidence="e" * 64,
        standing={"crossed": crossed},
        facts={},
    )


def test_a_refit_stands_on_the_verdict_of_its_candidate(tmp_path: Path) -> None:
    history = serving()
    candidate(history, "2")
    history.add(registered("3"), tried("3"), refitted("3", "2"))
    history.add(promoted(history, "3", ground=8))

    one = line(4, found(tmp_path, history))

    assert one.ok, one.found
    assert "by a verdict 2 – of these 1 as the refit of what was judged –" in one.found


def test_labels_of_what_was_predicted_are_a_ground_for_what_the_holdout_refused(tmp_path: Path) -> None:
    history = serving()
    candidate(history, "2", passed=False)
    history.add(registered("3"), tried("3"), refitted("3", "2"), compared("3", "1"))
    history.add(promoted(history, "3", ground=12, by="operator"))

    one = line(4, found(tmp_path, history))

    assert one.ok, one.found
    assert "1 by labels of what was predicted" in one.found


@pytest.mark.parametrize(
    ("passed", "check", "last"),
    [
        (True, refitted("3", "2", passed=False), {"ground": 8}),
        (False, refitted("3", "2"), {"ground": 8}),
        (True, refitted("3", "1"), {"ground": 8}),
        (True, refitted("3", "2"), {"ground": 4}),
        (False, compared("3", "2"), {"ground": 11}),
        (False, compared("2", "1"), {"ground": 11}),
        (False, compared("3", "1", crossed=None), {"ground": 11}),
        (True, defined(), {"ground": 8}),
    ],
    ids=[
        "a check that failed",
        "a verdict that failed",
        "a verdict of another",
        "the verdict of the champion",
        "labels against another champion",
        "labels for another version",
        "labels that did not decide",
        "no check",
    ],
)
def test_a_refit_without_its_ground_breaks_the_fourth(
    tmp_path: Path, passed: bool, check: Any, last: dict[str, Any]
) -> None:
    history = serving()
    candidate(history, "2", passed=passed)
    history.add(registered("3"), tried("3"), check)
    history.add(promoted(history, "3", **last))

    one = line(4, found(tmp_path, history))

    assert not one.ok
    assert "version 3 of rain" in one.found
    assert "stands on no passing verdict" in one.found


def test_a_check_that_came_after_the_promotion_is_no_ground(tmp_path: Path) -> None:
    history = serving()
    candidate(history, "2")
    history.add(registered("3"), tried("3"))
    history.add(promoted(history, "3", ground=8))
    grounds = grounds_of(history)
    grounds.refits["rain", "3"] = (len(history.entries) + 1, "2", True)

    assert not line(4, found(tmp_path, history, grounds=grounds)).ok


class Anything(BaseHTTPRequestHandler):
    """What a proxy makes of an API that it lends its own token to: whatever is sent is taken."""

    status = 200

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def answering(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def open_to_all() -> Iterator[str]:
    with answering(Anything) as url:
        yield url


def test_control_that_asks_for_no_token_breaks_the_fourth_and_taking_anything_the_seventh(
    tmp_path: Path, open_to_all: str
) -> None:
    given = found(tmp_path, told=ready(worker(1), worker(2)), url=open_to_all)

    assert line(4, given).found == "POST /model/promote without a token was answered with 200"
    assert line(7, given).found == "a wrong input was answered with 200"
    assert not line(4, given).ok
    assert not line(7, given).ok


class Failing(Anything):
    status = 502


def test_an_api_that_fails_leaves_unknown_whether_control_asks_for_a_token(tmp_path: Path) -> None:
    with answering(Failing) as url:
        one = line(4, found(tmp_path, told=ready(worker(1), worker(2)), url=url))

    assert one.ok
    assert "whether control asks for a token is unknown" in one.found


def test_a_proxy_of_the_environment_is_not_told_the_token(open_to_all: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, open_to_all)

    assert asked(f"http://127.0.0.1:{free_port()}/predict", {}, token="client") == (0, b"")


# ── 5: trials ────────────────────────────────────────────────────────────────────────────────────


def test_what_serves_was_tried_and_with_other_libraries_it_says_so(tmp_path: Path) -> None:
    here, elsewhere = (line(5, found(tmp_path, environment=one)) for one in (HERE, "libraries-of-tomorrow"))

    assert here.ok
    assert "each passed a trial" in here.found
    assert "cannot be seen from here" in here.found
    assert "tried with other libraries than are installed here: 1" in elsewhere.found


def test_a_champion_that_failed_its_trial_here_breaks_the_fifth(tmp_path: Path) -> None:
    history = serving()
    history.add(tried("1", environment="libraries-of-tomorrow", passed=False))

    one = line(5, found(tmp_path, history, environment="libraries-of-tomorrow"))

    assert not one.ok
    assert "it answered NaN" in one.found


def test_a_champion_without_a_trial_breaks_the_fifth(tmp_path: Path) -> None:
    history = History()
    history.add(defined(), registered("1"))
    history.add(promoted(history, "1", how="override", reason="in a hurry"))

    assert line(5, found(tmp_path, history)).found == "version 1 of rain serves and has passed no trial"


# ── 6: runs ──────────────────────────────────────────────────────────────────────────────────────


def trained(store: FolderStore) -> History:
    """A champion from a run, whose inputs are in a store."""
    history = History()
    history.add(defined())
    run: dict[str, Any] = {"model": "rain", "run": "rain-1"}
    asked: dict[str, Any] = {
        "slot": "first",
        "as_of": "2026-01-01T00:00:00Z",
        "params": {},
        "start_date": None,
        "end_date": None,
    }
    history.add(RunRequested(**run, job="train", **asked, like=None, by="scheduler"))
    history.add(RunClaimed(**run, attempt=1, claimant="host/1/1"))
    history.add(registered("1", run="rain-1"), tried("1"), judged("1"))
    history.add(promoted(history, "1", ground=6))
    inputs = {"source": store.put(b"source"), "data": store.put(b"rows")}
    history.add(RunFinished(**run, token=3, outcome="succeeded", reason="", version="1", result=inputs))
    return history


def test_inputs_that_are_gone_break_the_sixth(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    settings.store.mkdir(parents=True)
    store = FolderStore(settings.store)
    given = found(tmp_path, trained(store))
    whole, other = line(6, given), line(6, replace(given, as_pinned=False))

    digest = store.put(b"rows")
    (settings.store / "sha256" / digest[:2] / digest).unlink()
    gone = line(6, given)

    assert whole.ok
    assert "`understudy verify run rain-1`" in whole.found
    assert not other.ok
    assert (gone.ok, "the data that version 1 of rain was trained from" in gone.found) == (False, True)


# ── 7: wrong input ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("home")) as installed:
        installed.start_api()
        yield installed


def test_a_running_api_is_asked_and_refuses_what_it_must(api: Installation) -> None:
    told = api.get("/ready").json()
    given = found(api.home, History(), told, url=api.url, settings=Settings(home=api.home))

    lines = list(promises.examined(given))

    assert [one.name for one in lines if not (one.ok and one.known)] == []
    assert "control asks for a token" in lines[3].found
    assert "processes of the API that hold scikit-learn: 0 of 1" in lines[4].found
    assert "what to do" in lines[6].found


def test_a_bug_that_was_logged_breaks_the_seventh_for_a_day(tmp_path: Path) -> None:
    given = found(tmp_path)
    given.settings.logs.mkdir()
    bug = {"time": given.now.isoformat(), "level": "ERROR", "action": "bug", "message": "a bug"}
    (given.settings.logs / "api.jsonl").write_text(json.dumps(bug) + "\n" + '{"action": "bug", torn\n')

    now, later = (line(7, replace(given, now=given.now + wait)) for wait in (timedelta(hours=1), timedelta(days=2)))

    assert (now.ok, now.found) == (False, "bugs logged in logs/ within a day: 1")
    assert later.ok


# ── 8: figures, and the clocks of both services ──────────────────────────────────────────────────


def test_the_commands_that_print_figures_are_named_and_not_what_they_import(tmp_path: Path) -> None:
    said = line(8, found(tmp_path)).found

    assert "`python -m bench.main_job`" in said
    assert "`python -m bench.serving`" in said
    assert "bench.rates" not in said
    assert "bench.wrk" not in said


@pytest.mark.parametrize(
    ("age_s", "said"),
    [
        (3.0, "agreed at the newest verdict"),
        (7200.0, "the API's seemed 7200 s ahead of the scheduler's at the newest verdict"),
        (-7200.0, "the scheduler's seemed 7200 s ahead of the API's at the newest verdict"),
    ],
)
def test_clocks_that_differ_are_seen_in_the_newest_verdict(age_s: float, said: str) -> None:
    history = serving()
    history.add(replace(judged("1"), facts={"evidence_age_s": age_s}))

    one = checkups.clocks(grounds_of(history).evidence_age_s)

    assert one.found == said
    assert one.ok is (age_s == 3.0)
    assert checkups.clocks(None).known is False
