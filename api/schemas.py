"""What may be sent, for every route that reads JSON through pydantic. Strict: nothing is turned into something else."""

import json
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from understudy.nesting import DEEPEST, is_shallow

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,47}$")]
Number = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,9}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(max_length=2000)]
SLOT = (
    r"^(first(/[1-9][0-9]{0,5})?|rows/(0|[1-9][0-9]{0,8})|selftest/[1-9][0-9]{0,9}|(again/)?[0-9-]{10}T[0-9:.]{8,15}Z)$"
)
Slot = Annotated[str, Field(max_length=60, pattern=SLOT)]
RunKind = Literal["train", "selftest"]
KEY = r"^[A-Za-z0-9._-]{1,80}$"
"""What an Idempotency-Key may look like: it becomes part of the log."""
Moment = Annotated[str, Field(max_length=40)]


MAX_RESULT = 64 * 1024
MOST_KEYS = 100


def shallow(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """What nests deeper could be written into the log, and never be shown again."""
    if not is_shallow(value):
        raise ValueError(f"JSON nests at most {DEEPEST} levels here")
    return value


Json = Annotated[dict[str, JsonValue], AfterValidator(shallow)]


class Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _few(cls, value: object) -> object:
        """A million unknown keys would be a million errors, and 1.3 GB."""
        if isinstance(value, dict) and len(value) > MOST_KEYS:
            raise ValueError(f"a body has at most {MOST_KEYS} keys")
        return value


class Definition(Body):
    """A model definition as the scheduler read it."""

    definition: Json
    source: dict[str, str]


class Stored(Body):
    """A bundle that is in the store already."""

    digest: Digest
    run: str | None = Field(None, max_length=100)
    token: int | None = None


class EvidenceStored(Body):
    """Evidence that is in the store already. Whatever else is sent with it, a p-value say, is ignored."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

    evidence: Digest
    run: str | None = Field(None, max_length=100)
    token: int | None = None


class RefitStored(Body):
    """Evidence for a refit that is in the store already."""

    of: Number = Field(description="The version whose verdict it should stand on.")
    evidence: Digest
    run: str | None = Field(None, max_length=100)
    token: int | None = None


Output = list[float | int | None] | float | int | None
Outputs = Annotated[list[Output], Field(max_length=10_000)]
Losses = Annotated[list[float | int | None], Field(max_length=10_000)]


class OwnLosses(Body):
    """Losses of labelled predictions by a function of the definition's."""

    serving: Losses
    other: Losses | None = None


class LiveRows(Body):
    """Labelled predictions in their order, and what both versions of a pair said to them."""

    pair: int = Field(description="Position of the pair.")
    after: Annotated[str, Field(max_length=64)]
    until: Annotated[str, Field(max_length=64)]
    ids: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=10_000)]
    labels: Annotated[list[str | bool | int | float], Field(max_length=10_000)]
    serving: Outputs
    other: Outputs | None = None
    own: OwnLosses | None = None

    @model_validator(mode="after")
    def _fit(self) -> "LiveRows":
        own = [] if self.own is None else [self.own.serving, self.own.other]
        if any(
            part is not None and len(part) != len(self.ids) for part in (self.labels, self.serving, self.other, *own)
        ):
            raise ValueError("each part has one entry for each id")
        return self


class Drift(Body):
    """What a scheduler has measured of the recent rows of a champion."""

    version: Number
    report: Json


class Promote(Body):
    """Which version should serve."""

    model_name: Name
    model_version_id: Number
    override: Text | None = Field(None, description="Why it should serve although no verdict says so; operator only.")
    run: str | None = Field(None, max_length=100, description="The run that promotes; for schedulers.")
    token: int | None = Field(None, description="The token of its claim: a later claim makes it stale.")


class Demote(Body):
    """Which model should go back to the champion before this one."""

    model_name: Name
    reason: Annotated[str, Field(min_length=1, max_length=2000)]


class Train(Body):
    """A training run by hand."""

    model_name: Name
    params: Json | None = Field(None, description="As for scikit-learn's set_params.")
    start_date: Moment | None = None
    end_date: Moment | None = None
    as_of: Moment | None = None
    like: str | None = Field(None, max_length=100, description="A run whose definition and params are used again.")
    time_travel: Literal["true", "false"] | None = Field(None, description="Older name; see `time_travel_date`.")
    time_travel_date: Moment | None = Field(None, description="Older name of `as_of`.")


class RunWish(Body):
    """A run for a slot."""

    model: Name
    kind: RunKind
    slot: Slot


class Claim(Body):
    """Who asks for work, and how long it would wait for some."""

    claimant: Annotated[str, Field(min_length=1, max_length=200)]
    kind: RunKind = Field("train", description="Runs of the other kind are not given.")
    wait_s: float | int = Field(0, ge=0, le=20)


class Held(Body):
    """The token of a claimed run."""

    token: int


class Finish(Held):
    """How a run ended."""

    outcome: Literal["succeeded", "refused", "failed", "skipped"]
    reason: Text = ""
    result: Json = Field(default_factory=dict)

    @field_validator("result")
    @classmethod
    def _small(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        """It stays in the log, and in memory, for good."""
        if len(json.dumps(value)) > MAX_RESULT:
            raise ValueError(f"a result has at most {MAX_RESULT // 1024} KiB")
        return value
