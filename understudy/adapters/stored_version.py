"""A version as it was recorded: its bundle, the source of its definition, its rows; and which of them are gone.

What the log says of it is always there. What the store has lost is named, and the rest is used all the same.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from understudy.adapters.folder_store import FolderStore
from understudy.errors import BadInput, NotFound, UnderstudyError
from understudy.evidence import Evidence
from understudy.profile import Part, Profile

if TYPE_CHECKING:
    from understudy.adapters.runtime import Runtime
    from understudy.adapters.snapshot import Snapshot

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Columns of a model that are no features, as its newest definition names them."""

    time: str | None
    key: str | None
    target: str
    withheld: frozenset[str]


@dataclass(frozen=True, eq=False)
class StoredVersion:
    """A version, and the folder of a store that may hold the rest of it. Each part is read when it is asked for."""

    listed: Mapping[str, Any]
    """As lists show it."""
    run: Mapping[str, Any] | None
    """The run that made it, as `GET /runs/{id}` shows it; None: it was uploaded."""
    store: Path
    basis: Mapping[str, Any] | None = None
    """The version that it is the refit of, as lists show it."""
    gone: dict[str, str] = field(default_factory=dict)
    """What could not be read -> why, in words."""

    @property
    def id(self) -> str:
        return str(self.listed["version"])

    @property
    def summary(self) -> Mapping[str, Any]:
        """What the log keeps of its manifest."""
        found: Mapping[str, Any] = self.listed["summary"]
        return found

    def source(self) -> dict[str, str] | None:
        """Text of its definition, file by file."""
        if self.run is None or "source" not in self.run["result"]:
            self.gone["source"] = "It was uploaded: nothing says how it was trained."
            return None
        return self._try("source", lambda: dict(json.loads(self._blob(self.run_result("source")))))

    def rows(self, roles: Roles) -> "Snapshot | None":
        """The rows that its run found."""
        from understudy.adapters import snapshot

        def read() -> "Snapshot":
            data = self._blob(self.summary["data"]["digest"])
            try:
                return snapshot.read_columns(data, time=roles.time, target=roles.target)
            except KeyError as error:
                raise BadInput(
                    f"They have no column {error}, which the definition names today.", remedy="Compare the definitions."
                ) from error

        return self._try("rows", read)

    def measure(self) -> Part | None:
        """The rows that it has learnt from, as they were measured when it was trained."""

        def read() -> Part:
            verdict = (self.basis or self.listed)["verdict"]
            if verdict is None:
                raise NotFound("It was never judged, so its rows were not measured.", remedy="Use what else is there.")
            profile = Profile.parse(self._blob(Evidence.parse(self._blob(verdict["evidence"])).profile))
            return profile.whole if self.basis or profile.fitted is None else profile.fitted

        return self._try("measure", read)

    def runtime(self) -> "Runtime | None":
        """The version itself, ready to be asked."""
        from understudy.adapters.runtime import open_bundle

        trees = self.listed["registered_by"] == "scheduler"
        digest = self.listed["digest"]
        return self._try("bundle", lambda: open_bundle(self._blob(digest), digest=digest, trees=trees))

    def estimator_params(self) -> dict[str, Any] | None:
        """What `get_params` says of its fitted estimator, but for estimators within and for seeds."""
        from understudy.adapters import bundle, skops_form

        def read() -> dict[str, Any]:
            digest = self.listed["digest"]
            form = bundle.unpack(self._blob(digest), digest=digest).forms.get(bundle.SKOPS)
            if form is None:
                raise NotFound("Its bundle holds no scikit-learn form.", remedy="Compare what it answers.")
            return plain_params(skops_form.load(form, trees=self.listed["registered_by"] == "scheduler"))

        return self._try("estimator", read)

    def run_result(self, name: str) -> str:
        return str((self.run or {}).get("result", {})[name])

    def _blob(self, digest: str) -> bytes:
        return self._blobs.get(digest)

    @cached_property
    def _blobs(self) -> FolderStore:
        if not self.store.is_dir():
            raise NotFound("The store is not on this machine.", remedy="Ask where it is.")
        return FolderStore(self.store)

    def _try(self, what: str, read: Callable[[], T]) -> T | None:
        """What `read` gives; None, with the reason noted, for whatever the store does not give back as it was."""
        try:
            return read()
        except UnderstudyError as error:
            self.gone[what] = error.problem
        except (KeyError, ValueError, TypeError, OSError) as error:  # a blob of another shape than is read today
            self.gone[what] = f"It cannot be read ({type(error).__name__})."
        return None


def plain_params(estimator: Any) -> dict[str, Any]:  # whatever has get_params, as scikit-learn's have
    """Parameters that are values: texts, numbers, and what is made of them."""
    params = estimator.get_params(deep=True)
    seeds = {name for name in params if name.split("__")[-1] in ("random_state", "n_jobs")}
    return {name: value for name, value in params.items() if name not in seeds and is_plain(value)}


def is_plain(value: Any) -> bool:
    match value:
        case None | bool() | int() | float() | str():
            return True
        case list() | tuple():
            return all(map(is_plain, value))
        case dict():
            return all(map(is_plain, [*value, *value.values()]))
    return False
