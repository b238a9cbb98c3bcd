"""Whole services are killed at random while clients use them, and no promise is broken.

The default suite takes a few kills of fixed seeds; `make faults` goes on for half an hour. A seed that fails is looked
at with `python -m tests.faults --seed … --kills … --workers … --schedulers … --keep FOLDER`.
"""

import sys
from pathlib import Path

import pytest

from tests.faults.campaign import Campaign
from tests.faults.report import Plan


def campaign(home: Path, plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    report = Campaign(home, plan, lambda line: sys.stdout.write(f"{line}\n")).run()

    lines = "\n".join(report.lines())
    assert report.broken == [], lines
    assert report.kills == plan.kills
    if plan.kills > 10:
        with capsys.disabled():
            sys.stdout.write(f"\n{lines}\n")


SHORT = [
    Plan(seed=1, kills=2, workers=1, schedulers=1, trains=False),
    Plan(seed=11, kills=2, workers=3, schedulers=1, first=1),
]
"""The API, while the network is cut, and a scheduler; a run and a worker."""

LONG = [
    Plan(seed=101, kills=75, workers=1, schedulers=1),
    Plan(seed=102, kills=90, workers=3, schedulers=1),
    Plan(seed=103, kills=90, workers=3, schedulers=2),
    Plan(seed=104, kills=45, workers=1, schedulers=2),
]


def named(plan: Plan) -> str:
    return f"{plan.workers} workers, {plan.schedulers} schedulers"


@pytest.mark.timeout(300)
@pytest.mark.fault(43)
@pytest.mark.fault(62)
@pytest.mark.parametrize("plan", SHORT, ids=named)
def test_a_few_kills_break_no_promise(plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    campaign(tmp_path / "home", plan, capsys)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.fault(43)
@pytest.mark.fault(62)
@pytest.mark.parametrize("plan", LONG, ids=named)
def test_hundreds_of_kills_break_no_promise(plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    campaign(tmp_path / "home", plan, capsys)
