"""What a scheduler tells of drift is kept, noticed once, and shown; and a champion may be too old."""

import logging
import time
from pathlib import Path
from typing import Any

import pytest

from api.tests import given
from understudy.schedule import Schedule


def column(name: str, effect: float) -> dict[str, Any]:
    return {
        "name": name,
        "measure": "values",
        "kind": "number",
        "effect": effect,
        "low": max(0.0, effect - 0.05),
        "high": effect + 0.05,
        "usual": 0.0,
        "rows": 900,
        "effective": 800.0,
        "told": "median 0.5 → 0.7",
    }


def report(effect: float, **changes: Any) -> dict[str, Any]:
    nothing: dict[str, Any] = {"unmeasured": {}, "scores": None, "quality": None, "disagreement": None, "delay": None}
    moment = "2026-01-01T00:00:00.000000Z"
    found = {"version": "1", "rows": 900, "since": moment, "until": moment, "columns": [column("x", effect)]}
    return {**found, **nothing, **changes}


def tell(api: given.Api, body: dict[str, Any], *, role: str = "scheduler", version: str = "1") -> Any:
    return api.client.post("/models/rain/drift", json={"version": version, "report": body}, headers=api.token(role))


def serving(api: given.Api, **changes: Any) -> None:
    """Version 1 serves by a definition with these changes."""
    body = given.definition()
    body["definition"] |= changes
    assert api.client.put("/models/rain", json=body, headers=api.token("scheduler")).status_code == 200
    api.serve(given.bundle())


def drifts(api: given.Api) -> int:
    return api.kinds().count("drift.noticed")


def test_drift_is_noticed_once_also_by_an_api_that_was_started_anew_until_it_has_calmed(tmp_path: Path) -> None:
    with given.api(tmp_path) as api:
        serving(api, schedule=Schedule.on_drift().to_json())

        assert api.client.get("/models/rain/drift").status_code == 404
        assert tell(api, report(0.05)).json() == {"kept": True, "noticed": []}
        assert tell(api, report(0.3)).json() == {"kept": True, "noticed": ["columns"]}
        assert drifts(api) == 1
        last = api.service.journal.read()[-1]
        assert (last.event.kind, last.event.slot) == ("run.requested", f"drift/{last.position - 2}")
        shown = api.client.get("/models/rain/drift").json()
        assert shown["beyond"] == [{"name": "x", "measure": "values"}]
        assert "`x`" in shown["words"][0]

    with given.api(tmp_path) as api:
        assert tell(api, report(0.3)).json()["noticed"] == []
        assert tell(api, report(0.12)).json()["noticed"] == []
        assert tell(api, report(0.02)).json()["noticed"] == []
        assert tell(api, report(0.3)).json()["noticed"] == ["columns"]
        assert drifts(api) == 2
        assert api.kinds().count("run.requested") == 1  # the first one waits still
        assert api.kinds().count("version.promoted") == 1


def test_drift_that_is_noticed_is_a_warning_on_the_console_and_only_then(
    api: given.Api, caplog: pytest.LogCaptureFixture
) -> None:
    serving(api)

    with caplog.at_level(logging.INFO):
        for effect in (0.05, 0.3, 0.3):
            tell(api, report(effect))

    [line] = [record for record in caplog.records if getattr(record, "action", "") == "drift.noticed"]
    assert line.levelname == "WARNING"
    assert line.getMessage().startswith("drift of rain: What version 1 is asked has moved: `x`: 30% of the rows")


def test_a_report_of_a_version_that_serves_no_more_is_not_kept(api: given.Api) -> None:
    serving(api)

    assert tell(api, report(0.3), version="2").json() == {"kept": False, "noticed": []}
    assert api.client.get("/models/rain/drift").status_code == 404
    assert drifts(api) == 0


@pytest.mark.parametrize(
    ("changes", "role", "status"),
    [
        ({}, "client", 403),
        ({"columns": "many"}, "scheduler", 422),
        ({"columns": [{**column("x", 0.3), "low": -1}]}, "scheduler", 422),
        ({"columns": [{**column("x", 0.3), "passed": True}]}, "scheduler", 422),
    ],
)
def test_only_a_scheduler_tells_of_drift_and_only_what_is_a_report(
    changes: dict[str, Any], role: str, status: int, api: given.Api
) -> None:
    serving(api)

    answer = tell(api, report(0.3, **changes), role=role)

    assert answer.status_code == status, answer.text
    assert drifts(api) == 0


def test_a_champion_that_is_too_old_needs_attention_once(tmp_path: Path) -> None:
    with given.api(tmp_path) as api:
        serving(api, max_age_s=0.001)

    for _ in range(2):
        with given.api(tmp_path) as api:
            until = time.monotonic() + 30
            while not (notes := api.client.get("/models/rain").json()["attention"]):
                assert time.monotonic() < until
                time.sleep(0.05)
            assert ["`max_age`" in note["reason"] for note in notes] == [True]
