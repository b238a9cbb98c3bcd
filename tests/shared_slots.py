"""Two schedulers, killed and paused by a seed, on models that come due every few seconds; and what the log says.

python -m tests.shared_slots HOME --slots 1000 --seed 7
"""

import argparse
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from scheduled_task.tests.site import Site, working
from tests.given import open_log
from tests.schedulers import Scheduler, eventually
from tests.services import Installation, installation
from understudy.events import (
    Recorded,
    RunAbandoned,
    RunClaimed,
    RunFinished,
    RunRequested,
    SlotSkipped,
    SlotsMissed,
    VersionPromoted,
    VersionRegistered,
    due_time,
    moment,
)
from understudy.schedule import Schedule

E = TypeVar("E")

DEFINITION = '''
"""A rule that turns slowly, so that what was learnt a minute ago is worse than what can be learnt now.

A hundred rows are needed to judge by: they take 100 s to arrive, so not every slot finds something to learn.
"""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from understudy import Model, Promotion, Schedule

ROWS_PER_S, ROWS, TURN_S = 1, 300, 3000


class Turning:
    def get_dataframe(self, as_of):
        last = int((as_of or datetime.now(UTC)).timestamp() * ROWS_PER_S)
        i = np.arange(last - ROWS, last)
        x, y, e = (np.modf(np.sin((i % 1_000_003) * k) * 43758.5453)[0] % 1 for k in (12.9898, 78.233, 39.425))
        turned = 2 * np.pi * i / (ROWS_PER_S * TURN_S)
        label = np.cos(turned) * (x - 0.5) + np.sin(turned) * (y - 0.5) + 0.2 * (e - 0.5) > 0
        at = pd.to_datetime(i * (1_000_000 // ROWS_PER_S), unit="us", utc=True)
        return pd.DataFrame({{"at": at, "x": x, "y": 20 + 10 * y, "label": label.astype(int)}})


model = Model(
    "{name}",
    source=Turning(),
    time="at",
    target="label",
    estimator=LogisticRegression(),
    retrain=Schedule.every(seconds={every_s}),
    promotion=Promotion(refit="off"),
)
'''


@dataclass(frozen=True)
class Told:
    """What a log says of slots and runs; the checks raise AssertionError where a promise is broken."""

    entries: Sequence[Recorded]
    schedule: Schedule
    at_once: int

    def check(self) -> None:
        self.check_slots()
        self.check_runs()
        self.check_claims()

    @cached_property
    def ends(self) -> dict[tuple[str, datetime], list[str]]:
        """Model and nominal time → all that the log says became of it."""
        found: dict[tuple[str, datetime], list[str]] = defaultdict(list)
        outcomes = {event.run: event.outcome for event in self.of(RunFinished)}
        for event in self.of(RunRequested):
            if (due := due_time(event.slot)) is not None:
                found[event.model, due].append(outcomes.get(event.run, "at work"))
        for skipped in self.of(SlotSkipped):
            found[skipped.model, moment(skipped.slot)].append("skipped slot")
        for missed in self.of(SlotsMissed):
            slots = self.slots(moment(missed.first), moment(missed.last))
            assert len(slots) == missed.count, missed
            for slot in slots:
                found[missed.model, slot].append("missed slot")
        return found

    def check_slots(self) -> None:
        """Each nominal slot of each model ends in exactly one run, or one record."""
        for model in {model for model, _ in self.ends}:
            told = [slot for name, slot in self.ends if name == model]
            assert sorted(told) == self.slots(min(told), max(told)), f"a slot of {model} is not in the log"
        assert {slot: ends for slot, ends in self.ends.items() if len(ends) != 1} == {}
        asked = Counter((event.model, event.job, event.slot) for event in self.of(RunRequested))
        assert [slot for slot, count in asked.items() if count > 1] == []

    def check_runs(self) -> None:
        """Each run ends once, promotes once at most, and what it promotes is one version of its own."""
        ended = Counter(event.run for event in self.of(RunFinished))
        assert ended == Counter(event.run for event in self.of(RunRequested))
        made = {(event.model, event.version): event.run for event in self.of(VersionRegistered)}
        promotions = [(event.key, made[event.model, event.version]) for event in self.of(VersionPromoted)]
        assert [key for key, run in promotions if key != run] == []
        assert len(set(promotions)) == len(promotions)

    def check_claims(self) -> None:
        """Never two runs of one model at once, never more than allowed, and only the holder ends a run.

        Tests of gates stand beside these and count for none of it.
        """
        held: dict[str, tuple[str, int]] = {}
        tests = {event.run for event in self.of(RunRequested) if event.job == "selftest"}
        for entry in self.entries:
            match entry.event:
                case RunClaimed(run=run) | RunAbandoned(run=run) | RunFinished(run=run) if run in tests:
                    continue
                case RunClaimed(model=model, run=run):
                    assert model not in held, entry
                    held[model] = run, entry.position
                    assert len(held) <= self.at_once, entry
                case RunAbandoned(model=model, run=run, token=token):
                    assert held.pop(model) == (run, token), entry
                case RunFinished(model=model, run=run, token=int(token)):
                    assert held.pop(model) == (run, token), entry

    def summary(self) -> Counter[str]:
        """How the slots ended, and what became of the runs."""
        found = Counter(end for ends in self.ends.values() for end in ends)
        kinds = (RunAbandoned, VersionRegistered, VersionPromoted)
        found |= Counter({"slots": len(self.ends)} | {kind.kind: len(list(self.of(kind))) for kind in kinds})
        return found

    def slots(self, first: datetime, last: datetime) -> list[datetime]:
        found = [first]
        while (slot := self.schedule.next_after(found[-1])) is not None and slot <= last:
            found.append(slot)
        return found

    def of(self, kind: type[E]) -> Iterator[E]:
        return (entry.event for entry in self.entries if isinstance(entry.event, kind))


@dataclass
class Disturbed:
    """What is run, and what is done to it."""

    home: Path
    slots: int
    seed: int
    models: int = 20
    every_s: int = 20
    at_once: int = 3
    calm_s: tuple[float, float] = (10.0, 30.0)
    """Between two acts."""
    paused_s: tuple[float, float] = (1.0, 16.0)
    """Some pauses are longer than the ten seconds after which a claim is given up."""
    done: Counter[str] = field(default_factory=Counter)

    def run(self) -> Told:
        """Disturb two schedulers until so many slots have come, then have the queue worked off; and read the log."""
        folder = self.home / "models"
        folder.mkdir(parents=True)
        for number in range(self.models):
            text = DEFINITION.format(name=f"turning-{number}", every_s=self.every_s)
            (folder / f"turning_{number}.py").write_text(text)
        with installation(self.home, UNDERSTUDY_RUNS_AT_ONCE=str(self.at_once)) as installed:
            installed.start_api()
            both = [Scheduler(installed, f"scheduler-{name}") for name in "ab"]
            self._disturb(installed, both)
            for scheduler in both:
                scheduler.process.terminate()
            for scheduler in both:
                scheduler.process.wait(60)
            self._work_off(installed)
        with closing(open_log(f"sqlite:///{self.home}/var/events.db")) as log:
            return Told(list(log.read()), Schedule.every(seconds=self.every_s), self.at_once)

    def _disturb(self, installed: Installation, both: Sequence[Scheduler]) -> None:
        chance = random.Random(self.seed)
        eventually(lambda: all_serve(installed, self.models), both[0].said, within_s=1200)
        first: dict[str, str] = {}
        while self._come(first, last_slots(installed)) < self.slots:
            time.sleep(chance.uniform(*self.calm_s))
            self._act(chance, both)

    def _come(self, first: dict[str, str], last: Mapping[str, str]) -> int:
        """How many slots there were, of all models; `first` remembers the first that was seen of each."""
        lengths = (moment(slot) - moment(first.setdefault(model, slot)) for model, slot in last.items())
        return sum(length // timedelta(seconds=self.every_s) + 1 for length in lengths)

    def _act(self, chance: random.Random, both: Sequence[Scheduler]) -> None:
        """Let one sleep, or kill it and start it again; now and then both."""
        act = chance.choice(("kill", "pause"))
        victims = both if chance.random() < 0.2 else [chance.choice(both)]
        for victim in victims:
            victim.pause() if act == "pause" else victim.kill()
            self.done[act] += 1
        time.sleep(chance.uniform(*self.paused_s) if act == "pause" else chance.uniform(0.0, 2.0))
        for victim in victims:
            victim.wake() if act == "pause" else victim.start()

    def _work_off(self, installed: Installation) -> None:
        """End what is open still, without anybody who asks for slots."""
        site = Site(installed)
        with working(site), working(site):
            eventually(lambda: not any(model["open_runs"] for model in models(installed)), within_s=1200)
        site.api.close()


def models(installed: Installation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = installed.get("/models").json()["items"]
    return found


def all_serve(installed: Installation, count: int) -> bool:
    return len([model for model in models(installed) if model["champion"]]) == count


def last_slots(installed: Installation) -> dict[str, str]:
    """Model → its last slot, for those that had one."""
    return {model["name"]: model["last_slot"] for model in models(installed) if model["last_slot"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    for name, default in {"slots": 1000, "seed": 1, "models": 20, "every-s": 20, "at-once": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    disturbed = Disturbed(**vars(parser.parse_args()))
    began = time.monotonic()
    told = disturbed.run()
    told.check()
    for name, count in sorted({**told.summary(), **disturbed.done}.items()):
        print(f"{name:20} {count}")  # noqa: T201 - the answer of a command
    print(f"{'minutes':20} {(time.monotonic() - began) / 60:.1f}")  # noqa: T201


if __name__ == "__main__":
    main()
