"""A champion that fails in the running product: typed answers, the one before it comes back, and nobody else pays."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import requests

from api.conduct import TOLD_EVERY_S
from api.tests import given
from tests import failing
from tests.failing import BAD, GOOD, hurt_in_a_call
from tests.services import Installation, installation
from tests.workers import state_of, wait_for, wait_until_all_answer, workers
from understudy.failures import FAILURES
from understudy.policy import Limits

BACK_S = 5.0
"""The table of faults says so: another process serves by then. Slow tests only, for it is a time."""
ASKED = 200
"""At most, until something follows."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One process, and a model beside the one that fails."""
    with installation(tmp_path_factory.mktemp("failing")) as found:
        found.start_api()
        for model in ("rain", "other"):
            define(found, model)
        serve(found, failing.well(model="other"), "other")
        yield found


def define(installed: Installation, model: str = "rain", **policy: Any) -> None:
    url, headers = f"{installed.url}/models/{model}", installed.token("scheduler")
    requests.put(url, json=given.definition(model, **policy), headers=headers, timeout=60).raise_for_status()


def serve(installed: Installation, data: bytes, model: str = "rain") -> str:
    """Register a bundle and make it champion; return its version."""
    headers = installed.token("operator")
    answer = requests.post(f"{installed.url}/models/{model}/versions", data=data, headers=headers, timeout=120)
    assert answer.ok, answer.text
    version = str(answer.json()["version"])
    body = {"model_name": model, "model_version_id": version, "override": "a test needs it"}
    answer = requests.post(f"{installed.url}/model/promote", json=body, headers=headers, timeout=120)
    assert answer.status_code == 200, answer.text
    return version


def ask(installed: Installation, number: float, model: str = "rain") -> requests.Response:
    return requests.post(f"{installed.url}/models/{model}/predict", json={"values": [number]}, timeout=120)


def champion(installed: Installation) -> str:
    return str(installed.get("/current_model").json()["version"])


def attention(installed: Installation) -> list[str]:
    return [note["reason"] for note in installed.get("/models/rain").json()["attention"]]


def events(installed: Installation, kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = 0
    while page := installed.get(f"/events?limit=1000&after={after}").json()["items"]:
        found, after = found + page, page[-1]["position"]
    return [event["data"] for event in found if event["kind"] == kind]


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and state_of(pid) not in "ZX"


def logged(installed: Installation, action: str) -> list[dict[str, Any]]:
    files = (installed.home / "logs").glob("api*.jsonl")
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return sorted((line for line in lines if line["action"] == action), key=lambda line: str(line["time"]))


@pytest.mark.fault(39)
@pytest.mark.parametrize(
    ("bundle", "words"), [(failing.raising, "raised"), (failing.not_a_number, "not finite")], ids=["raises", "NaN"]
)
def test_a_model_that_fails_is_answered_for_with_500_and_followed_by_the_one_before(
    installed: Installation, bundle: Any, words: str
) -> None:
    define(installed)
    before = serve(installed, failing.well(more=1e-6 if words == "raised" else 2e-6))
    failing_version = serve(installed, bundle())
    assert ask(installed, GOOD).json()["version"] == failing_version

    answers: list[requests.Response] = []
    while len(answers) < ASKED and champion(installed) == failing_version:
        answers.append(ask(installed, BAD))

    refused = [answer for answer in answers if not answer.ok]
    assert {(answer.status_code, answer.json()["code"]) for answer in refused} <= {
        (500, "model_error"),
        (503, "model_unhealthy"),
    }
    assert [answer.status_code for answer in refused[:FAILURES]] == [500] * FAILURES
    assert words in refused[0].json()["detail"]
    assert all("Retry-After" in answer.headers for answer in refused if answer.status_code == 503)
    wait_for(lambda: ask(installed, BAD).status_code == 200, "the version before, which answers anything")
    assert ask(installed, BAD).json()["version"] == before
    change = installed.get("/current_model").json()
    assert change["promoted_by"] == "api"
    assert change["reason"].startswith(f"Version {failing_version} fails while it serves: ")


def test_a_model_that_is_to_be_kept_is_refused_while_it_answers_nobody_and_a_person_is_told_once(
    installed: Installation,
) -> None:
    define(installed, on_failure="keep")
    serve(installed, failing.well(more=3e-6))
    kept = serve(installed, failing.raising())
    told = len(attention(installed))

    for _ in range(FAILURES):
        assert ask(installed, BAD).status_code == 500
    refused = ask(installed, GOOD)

    assert (refused.status_code, refused.json()["code"]) == (503, "model_unhealthy")
    assert f"Version {kept} of rain fails while it serves" in refused.json()["detail"]
    assert ask(installed, GOOD, "other").status_code == 200
    wait_for(lambda: ask(installed, GOOD).status_code == 200, "the breaker to try one, and close")
    for _ in range(2 * FAILURES):
        ask(installed, BAD)
    assert champion(installed) == kept
    assert len(attention(installed)) == told + 1
    assert "on_failure" in attention(installed)[0]


def test_a_version_that_answers_what_cannot_be_true_goes_without_any_error_and_is_barred(
    installed: Installation,
) -> None:
    define(installed, limits=Limits(outputs=(0, 10)))
    before, odd = (serve(installed, failing.well(more=more)) for more in (4e-6, 5e-6))

    until_s = time.monotonic() + 60
    while time.monotonic() < until_s and champion(installed) == odd:
        assert {ask(installed, number).status_code for number in [GOOD] * 9 + [BAD]} == {200}

    change = installed.get("/current_model").json()
    assert (change["version"], change["promoted_by"], change["how"]) == (before, "api", "demotion")
    assert change["reason"].startswith(f"Version {odd} fails while it serves: ")
    assert "answers were outside of 0 to 10, and at most 1 % may" in change["reason"]
    newest = installed.get("/models/rain/versions?limit=2").json()["items"]
    assert [(item["version"], item["barred"]) for item in newest] == [(odd, change["reason"]), (before, None)]
    define(installed)


def ask_until(installed: Installation, numbers: list[float], true: Callable[[], Any]) -> None:
    until_s = time.monotonic() + 120
    while not true():
        assert time.monotonic() < until_s
        assert {ask(installed, number).status_code for number in numbers} == {200}


@pytest.mark.slow
@pytest.mark.fault(69)
def test_a_client_with_odd_rows_takes_one_version_from_the_others_and_no_second_one(installed: Installation) -> None:
    define(installed, limits=Limits(outputs=(0, 10)))
    _, before, newest = (serve(installed, failing.well(more=more)) for more in (6e-6, 7e-6, 8e-6))
    odd, told = [GOOD] * 9 + [BAD], len(attention(installed))

    ask_until(installed, odd, lambda: champion(installed) != newest)
    assert champion(installed) == before
    ask_until(installed, odd, lambda: len(attention(installed)) > told)
    until_s = time.monotonic() + 2 * TOLD_EVERY_S
    ask_until(installed, odd, lambda: time.monotonic() > until_s)

    assert champion(installed) == before
    assert len(attention(installed)) == told + 1
    assert "what is asked may be at fault" in attention(installed)[0]
    define(installed)


@pytest.mark.slow
def test_a_version_that_is_slower_than_its_owner_allows_goes(installed: Installation) -> None:
    define(installed, limits=Limits(latency_ms=8))
    before, slow = serve(installed, failing.well(more=9e-6)), serve(installed, failing.slow(3))

    ask_until(installed, [GOOD] * 10, lambda: champion(installed) != slow)

    change = installed.get("/current_model").json()
    assert (change["version"], change["promoted_by"]) == (before, "api")
    assert "the median of its answers took" in change["reason"]
    define(installed)


@pytest.mark.fault(40)
def test_a_version_in_whose_calls_the_only_process_crashes_twice_is_gone_before_the_next_one_serves(
    tmp_path: Path,
) -> None:
    with installation(tmp_path) as alone:
        alone.start_api()
        define(alone)
        before, deadly = serve(alone, failing.well()), serve(alone, failing.slow())
        for number in cycle([signal.SIGSEGV, signal.SIGBUS]):
            victim = hurt_in_a_call(alone, number)
            alone.processes["api.main"].wait(60)
            alone.start_api()
            assert [*(alone.home / "var/processes").glob(f"{victim}-*")] == [], "what it left is read and removed"
            deaths = [death for death in events(alone, "process.died") if death["version"]]
            if len(deaths) == 2:  # now and then its call ends while it dies
                break
            assert champion(alone) == deadly

        assert champion(alone) == before
        assert ask(alone, GOOD).json()["version"] == before
        assert {(death["model"], death["version"], death["how"]) for death in deaths} == {("rain", deadly, "crashed")}
        last = alone.processes["api.main"].pid
        assert [line["version"] for line in logged(alone, "swapped") if line["pid"] == last] == [before]
        promoted = events(alone, "version.promoted")[-1]
        assert (promoted["by"], promoted["replaces"]) == ("api", deadly)
        assert "2 processes have died in calls of it" in promoted["reason"]
        stacks = [line["stack"] for line in logged(alone, "process.died")]
        assert all("serving.py" in stack and " in call" in stack for stack in stacks[-1:]), "where it was"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Two processes, which end where they answer nobody for two seconds; version 1 is well, version 2 takes long."""
    settings = {"UNDERSTUDY_API_WORKERS": "2", "UNDERSTUDY_WATCHDOG_S": "2"}
    with installation(tmp_path_factory.mktemp("pair"), **settings) as found:
        found.start_api()
        define(found)
        assert [serve(found, failing.well()), serve(found, failing.slow())] == ["1", "2"]
        yield found


def newest_death(installed: Installation, before: int) -> dict[str, Any]:
    deaths = wait_for(lambda: events(installed, "process.died")[before:], "word of its end")
    return dict(deaths[-1])


@pytest.mark.slow
def test_a_process_that_is_killed_amid_a_call_is_recorded_and_the_model_is_not_blamed(pair: Installation) -> None:
    wait_until_all_answer(pair, 2)
    before = len(events(pair, "process.died"))

    for _ in range(2):
        victim = hurt_in_a_call(pair, signal.SIGKILL)
        death = newest_death(pair, before)
        before += 1
        assert (death["how"], death["worker"].split("/")[1]) == ("killed", str(victim))
        assert "killed from outside (SIGKILL)" in death["reason"]
        wait_until_all_answer(pair, 2)

    assert champion(pair) == "2"


@pytest.mark.slow
@pytest.mark.fault(40)
def test_of_two_processes_one_crashes_amid_a_call_while_the_other_serves_and_after_the_second_the_model_goes(
    tmp_path: Path,
) -> None:
    with installation(tmp_path, UNDERSTUDY_API_WORKERS="2") as two:
        two.start_api()
        define(two)
        before, deadly = serve(two, failing.well()), serve(two, failing.slow())
        blamed = 0
        for number in cycle([signal.SIGSEGV, signal.SIGBUS]):
            wait_until_all_answer(two, 2)
            told = len(events(two, "process.died"))

            victim, died_s = hurt_in_a_call(two, number), time.monotonic()
            wait_for(lambda: not alive(victim), "its end")  # noqa: B023 - called at once
            while len({*workers(two)} - {victim}) < 2:
                assert ask(two, GOOD).status_code == 200, "the other one serves"
            wait_until_all_answer(two, 2)
            assert time.monotonic() - died_s <= BACK_S

            death = newest_death(two, told)
            assert (death["how"], death["worker"].split("/")[1]) == ("crashed", str(victim))
            assert f"crashed ({number.name})" in death["reason"], "its parent saw it"
            blamed += death["version"] == deadly  # now and then its call ends while it dies
            if blamed == 2:
                break
            assert champion(two) == deadly

        wait_for(lambda: champion(two) == before, "the way back")
        assert ask(two, GOOD).json()["version"] == before


@pytest.mark.slow
def test_processes_that_notice_at_once_go_back_once(pair: Installation) -> None:
    wait_until_all_answer(pair, 2)
    before, failed = champion(pair), serve(pair, failing.raising())

    with ThreadPoolExecutor(8) as pool:  # over connections of both
        while champion(pair) == failed:
            [*pool.map(lambda _: ask(pair, BAD), range(16))]

    assert champion(pair) == before
    ways_back = [event for event in events(pair, "version.promoted") if event["by"] == "api"]
    assert [(event["version"], event["replaces"]) for event in ways_back] == [(before, failed)]


@pytest.mark.slow
@pytest.mark.fault(44)
def test_a_process_whose_event_loop_stands_still_ends_itself_and_is_replaced(pair: Installation) -> None:
    wait_until_all_answer(pair, 2)
    before, victim = len(events(pair, "process.died")), workers(pair)[0]

    with failing.stuck(victim):  # the thread of the loop has the number of its process
        wait_for(lambda: not alive(victim), "its end")

    death = newest_death(pair, before)
    assert (death["how"], death["version"]) == ("silent", None)
    assert "answered nobody for 2 s and ended itself" in death["reason"]
    assert "most recent call first" in logged(pair, "process.died")[-1]["stack"]
    wait_until_all_answer(pair, 2)
    assert champion(pair) == "2"
