"""What a run's own process does: rows in, a bundle and its evidence in the store.

    python -m scheduled_task.train JOB.json        leaves result.json beside it

This is where users' code runs: the definition, its source and its estimator. So this process has limits, no token and
no business with the API. It tells its parent what came of it in one file, and the parent tells the API.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scheduled_task import limits
from scheduled_task.job import LONGEST_REASON, RESULT, Ended, Job
from scheduled_task.scratch import scratch
from understudy.errors import BundleRefused, DataRefused, SourceFailed, UnderstudyError
from understudy.events import moment

if TYPE_CHECKING:
    from understudy.adapters.recipe import Inputs, Rows
    from understudy.adapters.scoring import Champion
    from understudy.adapters.snapshot import Snapshot
    from understudy.evidence import Clock
    from understudy.model import Model
    from understudy.ports import ArtifactStore
    from understudy.profile import Profile

MOST_HOLDOUTS = 200
"""Files kept under `test_data/`; the store has them all."""


class Notes:
    """What a training writes down on its way, so that one that ends early has said how far it came."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {"seconds": {}}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began_s = time.perf_counter()
        try:
            yield
        finally:
            self.facts["seconds"][name] = round(time.perf_counter() - began_s, 3)


def carry_out(job: Job, store: "ArtifactStore", folder: Path) -> Ended:
    """Train as `job` says, in `folder`. Whatever goes wrong is an outcome with a reason; nothing is raised."""
    notes = Notes()
    try:
        return Training(job, store, folder, notes).run()
    except Exception as error:  # noqa: BLE001 - sources and estimators may raise anything; the run ends with its reason
        outcome, reason = explained(error, job)
        return Ended(outcome=outcome, reason=reason[:LONGEST_REASON], facts=notes.facts)


def explained(error: Exception, job: Job) -> tuple[Literal["refused", "failed"], str]:
    """How a run ends that met `error`, and why in words."""
    match error:
        case DataRefused():
            return "refused", str(error)
        case SourceFailed():
            return "failed", f"source: {error}"
        case UnderstudyError():
            return "failed", str(error)
        case MemoryError():
            limit = f"{job.memory_mb} MiB that UNDERSTUDY_RUN_MEMORY_MB allows"
            return "failed", f"Training needed more than the {limit}."
    return "failed", f"Training raised {type(error).__name__}: {' '.join(str(error).split())}"


class Training:
    """One run, stage by stage."""

    def __init__(self, job: Job, store: "ArtifactStore", folder: Path, notes: Notes) -> None:
        self._job, self._store, self._folder, self._notes = job, store, folder, notes

    def run(self) -> Ended:
        with self._notes.stage("imports"):
            import_libraries()
        with self._notes.stage("definition"):
            model = self._load_definition()
        with self._notes.stage("data"):
            snapshot, data, future = self._take_snapshot(model)
            after = self._after(snapshot)
        if (reason := self._nothing_new(snapshot, after)) is not None:
            return Ended(outcome="skipped", reason=reason, facts=self._notes.facts)
        with self._notes.stage("check"):
            rows, cut, profile = self._check(model, snapshot, after, future)
        inputs = self._inputs(cut, self._store.put(data))
        with self._notes.stage("train"):
            bundle = self._train(model, rows, inputs)
        with self._notes.stage("evidence"):
            evidence = self._score(model, rows, bundle, profile)
        with self._notes.stage("refit"):
            refit, beside = self._refit(model, rows, inputs, bundle, profile)
        return Ended(
            outcome="trained",
            bundle=bundle,
            evidence=evidence,
            refit=refit,
            refit_evidence=beside,
            facts=self._notes.facts,
        )

    def _load_definition(self) -> "Model":
        from understudy.adapters.stored_definition import load_stored

        self._notes.facts["source"] = self._job.source_digest
        return load_stored(
            self._store.get(self._job.source_digest),
            self._job.model["name"],
            folder=Path(self._job.definitions),
            scratch=self._folder / "definition",
        )

    def _take_snapshot(self, model: "Model") -> "tuple[Snapshot, bytes, int]":
        from understudy.adapters import snapshot

        run = self._job.run
        taken = snapshot.take(
            model,
            as_of=moment(run["as_of"]),
            now=datetime.now(UTC),
            start=moment(run["start_date"]) if run["start_date"] else None,
            end=moment(run["end_date"]) if run["end_date"] else None,
        )
        data = snapshot.write(taken.frame)
        rows = snapshot.read(data, model)
        self._notes.facts |= {"rows": len(rows.frame), "rows_with_label": len(rows.mature)}
        if taken.note:
            self._notes.facts["note"] = taken.note[:500]
        return rows, data, taken.future

    def _after(self, snapshot: "Snapshot") -> "Clock | None":
        """The clock of the last row that was judged by, or that the champion has seen."""
        from understudy.adapters import recipe

        bounds = [self._job.model["judged_until"], self._champion_cut()]
        after: Clock | None = min(bounds, key=lambda bound: recipe.fresh(snapshot, bound))
        self._notes.facts["new_rows"] = recipe.fresh(snapshot, after)
        return after

    def _champion_cut(self) -> "Clock | None":
        from understudy.adapters import bundle

        if self._job.champion is None:
            return None
        digest = self._job.champion["digest"]
        cut: Clock = bundle.unpack(self._store.get(digest), digest=digest).manifest["data"]["cut"]
        return cut

    def _nothing_new(self, snapshot: "Snapshot", after: "Clock | None") -> str | None:
        """Why a run that is merely due has nothing to do: rows wait until there are enough of them to judge by."""
        from understudy.adapters import recipe

        if after is None or self._job.chosen:
            return None
        new = recipe.fresh(snapshot, after)
        if new >= recipe.FEWEST_HELD_OUT:
            return None
        many = f"only {new} rows" if new else "no rows"
        reason = f"There are {many} with a label since {after}; {recipe.FEWEST_HELD_OUT} are needed to judge by."
        return f"{reason} {self._notes.facts.get('note', '')}".strip()

    def _check(
        self, model: "Model", snapshot: "Snapshot", after: "Clock | None", future: int
    ) -> "tuple[Rows, Clock, str]":
        """Divide the rows and refuse what must not be trained on; return the profile's digest with them."""
        from understudy import quality
        from understudy.adapters import recipe

        cut = recipe.choose_cut(snapshot, after)
        rows = recipe.divide(model, snapshot, cut)
        reference = self._reference()
        profile = recipe.profile(model, rows, reference=reference, future=future)
        findings = quality.check(profile, None if self._job.travels else reference, model.ranges)
        self._notes.facts |= {"fitted": len(rows.fitted), "held_out": len(rows.held_out), "cut": cut}
        if findings:
            self._notes.facts["findings"] = [asdict(finding) for finding in findings]
            raise DataRefused(" ".join(finding.reason for finding in findings), remedy=quality.REMEDY)
        return rows, cut, self._store.put(profile.encode())

    def _reference(self) -> "Profile | None":
        from understudy.profile import Profile

        digest = self._job.model["profile"]
        return None if digest is None else Profile.parse(self._store.get(digest))

    def _inputs(self, cut: "Clock", data: str) -> "Inputs":
        from understudy.adapters.recipe import Inputs

        return Inputs(source=self._job.source_digest, data=data, params=self._job.run["params"], cut=cut)

    def _train(self, model: "Model", rows: "Rows", inputs: "Inputs") -> str:
        from understudy.adapters import recipe, snapshot

        bundle = self._store.put(recipe.make(model, rows, inputs))
        holdout = snapshot.write(rows.snapshot.frame.iloc[rows.held_out])
        held_out = self._store.put(holdout)
        keep(holdout, Path(self._job.holdouts) / f"{held_out}.parquet")
        self._notes.facts |= {
            "data": inputs.data,
            "holdout": held_out,
            "bundle": bundle,
            "params": dict(inputs.params),
            "seed": inputs.seed,
        }
        return bundle

    def _score(self, model: "Model", rows: "Rows", bundle: str, profile: str) -> str:
        from understudy.adapters import runtime, scoring

        document, trouble = scoring.gather(
            model,
            rows,
            candidate=runtime.open_bundle(self._store.get(bundle), digest=bundle, trees=True),
            champion=self._champion(),
            profile=profile,
            now=datetime.now(UTC),
        )
        if trouble:
            self._notes.facts["champion_trouble"] = trouble
        evidence = self._store.put(document)
        self._notes.facts["evidence"] = evidence
        return evidence

    def _refit(
        self, model: "Model", rows: "Rows", inputs: "Inputs", bundle: str, profile: str
    ) -> tuple[str | None, str | None]:
        """Train the same once more on all rows, for whatever the verdict will be: in shadow, too, it is the better one.

        Where that fails the candidate itself will do.
        """
        if model.promotion.refit == "off":
            return None, None
        from understudy.adapters import recipe, runtime, scoring
        from understudy.adapters.bundle import unpack

        stored = self._store.get(bundle)
        try:
            metrics = unpack(stored, digest=bundle).manifest["metrics"]
            made = self._store.put(recipe.refit(model, rows, inputs, metrics))
        except Exception as error:  # noqa: BLE001 - estimators may raise anything
            self._notes.facts["refit_trouble"] = explained(error, self._job)[1][:500]
            return None, None
        document, _ = scoring.gather(
            model,
            rows,
            candidate=runtime.open_bundle(self._store.get(made), digest=made, trees=True),
            champion=scoring.Champion(bundle, runtime.open_bundle(stored, digest=bundle, trees=True)),
            profile=profile,
            now=datetime.now(UTC),
        )
        self._notes.facts["refit"] = made
        return made, self._store.put(document)

    def _champion(self) -> "Champion | None":
        """The champion, ready to be asked; where these libraries cannot load it, it is asked nothing."""
        from understudy.adapters import runtime, scoring

        if self._job.champion is None:
            return None
        digest = self._job.champion["digest"]
        try:
            opened = runtime.open_bundle(self._store.get(digest), digest=digest, trees=True)
        except BundleRefused as error:
            return scoring.Champion(digest, None, error.problem)
        return scoring.Champion(digest, opened)


def import_libraries() -> None:
    """All of them at once, so that the stages measure work."""
    from understudy.adapters import recipe, scoring, training  # noqa: F401


def keep(data: bytes, file: Path) -> None:
    """Add a holdout to the folder for people to look at; the oldest make room. Others may be doing the same."""
    with scratch(file.parent, file.stem[:12]) as folder:
        temporary = folder / file.name
        temporary.write_bytes(data)
        temporary.replace(file)
    for old in sorted(file.parent.glob("*.parquet"), key=changed_ns)[:-MOST_HOLDOUTS]:
        old.unlink(missing_ok=True)


def changed_ns(file: Path) -> int:
    """When a file was changed last; 0 where somebody has just removed it."""
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def main() -> int:
    file = Path(sys.argv[1])
    job = Job.read(file)
    limits.apply(memory_mb=job.memory_mb)
    limits.end_with_parent()
    from understudy.adapters.folder_store import FolderStore

    carry_out(job, FolderStore(Path(job.store)), file.parent).write(file.with_name(RESULT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
