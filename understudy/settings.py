"""Every setting, as one table: name, type, default, unit, sentence.

Read once, by `create_app`, `build_scheduler` and the command line. Values come from `UNDERSTUDY_…` in the environment,
then from `.env` in the current folder. An unknown `UNDERSTUDY_…` name refuses to start: a misspelt setting must not
become a default.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, NoDecode, SettingsConfigDict

from understudy.errors import BadSettings

PREFIX = "UNDERSTUDY_"
SHORTEST_TOKEN = 32
"""Characters; `secrets.token_urlsafe(32)` gives 43."""

REMEDY = "See the settings table in README.md."

ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - compared with, never listened on

Names = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """What an installation may choose."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", frozen=True, extra="ignore")

    home: Path = Field(Path(), description="Where state lives; by default the folder in which a command is started.")
    api_host: str = Field("127.0.0.1", description="Address that the API listens on.")
    api_port: int = Field(8000, ge=1, le=65535, description="Port that the API listens on.")
    api_workers: int = Field(1, ge=1, le=64, description="Processes that answer for the API.")
    api_url: str = Field(
        "http://127.0.0.1:8000", description="Where the API is found; unless set, it follows host and port."
    )
    fast_path: Literal["on", "off"] = Field("on", description="Plain predictions are answered in the protocol itself.")
    loop_limit_ms: float = Field(
        2.0,
        ge=0,
        le=1000,
        allow_inf_nan=False,
        description="A model call that takes longer leaves the event loop, for all others wait for it, health too.",
    )
    watchdog_s: float = Field(
        10.0,
        ge=2,
        le=600,
        description="A process that answers nobody for so long ends itself; no call of a cheap model takes a second.",
    )
    memory_limit_mb: int = Field(
        0, ge=0, description="Above that, in MiB, a process drains and another takes its place; 0: never."
    )
    open: Names = Field(("predict", "read"), description="What needs no token: `predict`, `read`, both or nothing.")
    allowed_hosts: Names = Field(("localhost", "127.0.0.1", "api"), description="Host names that are answered.")
    cors_origins: Names = Field((), description="Origins whose pages may call the API.")
    database_url: str = Field("", description="The event log, `sqlite:///PATH`; `var/events.db` by default.")
    records_url: str = Field("", description="Prediction records, `sqlite:///PATH`; `var/records.db` by default.")
    store_url: str = Field("", description="The artifact store, `file://PATH`; `api/prod_models` by default.")
    models_dir: Path = Field(Path("models"), description="Folder of model definitions, below the home or absolute.")
    default_model: str = Field("rain", description="The model behind `/predict` and `/current_model`.")
    operator_token: SecretStr | None = Field(None, description="Token of the operator; made on first start.")
    scheduler_token: SecretStr | None = Field(None, description="Token of the scheduler; made on first start.")
    client_token: SecretStr | None = Field(None, description="Token of clients; made on first start.")
    records: Literal["buffered", "durable"] = Field(
        "buffered", description="`durable`: an answer waits until it is on record; `buffered`: a kill may lose 0.5 s."
    )
    records_sample: float = Field(1.0, ge=0, le=1, description="Share of the requests that are recorded.")
    records_withhold: Names = Field(
        ("personal",), description="Tags of columns (`Model(tags=…)`) whose values are not recorded."
    )
    records_days: float = Field(
        30.0, gt=0, allow_inf_nan=False, description="Days after which prediction records are dropped."
    )
    records_mb: int = Field(
        1000, ge=1, description="Size, in 10⁶ bytes, above which the oldest prediction records are dropped."
    )
    traces: str = Field("off", description="Where traces are sent: `off`, or the URL of an OTLP/HTTP collector.")
    runs_at_once: int = Field(1, ge=1, le=64, description="Runs at a time, over all models.")
    selftest: Literal["on", "off"] = Field(
        "on", description="Whenever a definition has changed, its gates are tested by sabotage."
    )
    run_timeout_s: float = Field(
        1800.0, gt=0, allow_inf_nan=False, description="Seconds after which a run's process is stopped."
    )
    run_memory_mb: int = Field(4096, ge=256, description="Address space that a run's process may use, in MiB.")

    @field_validator("open", "allowed_hosts", "cors_origins", "records_withhold", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value

    @field_validator("open")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if set(value) - {"predict", "read"}:
            raise ValueError("anything but `predict` and `read` cannot be open")
        return value

    @field_validator("api_url")
    @classmethod
    def _http(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("write http://HOST:PORT")
        return value

    @field_validator("traces")
    @classmethod
    def _collector(cls, value: str) -> str:
        if value != "off" and not value.startswith(("http://", "https://")):
            raise ValueError("write `off` or http://HOST:PORT")
        return value

    @field_validator("database_url", "records_url")
    @classmethod
    def _sqlite(cls, value: str) -> str:
        if value and not names_a_path(value, "sqlite:///"):
            raise ValueError("this release keeps it in SQLite: write sqlite:///PATH")
        return value

    @field_validator("store_url")
    @classmethod
    def _folder(cls, value: str) -> str:
        if value and not names_a_path(value, "file:///"):
            raise ValueError("this release keeps it in a folder: write file:///PATH")
        return value

    @field_validator("operator_token", "scheduler_token", "client_token")
    @classmethod
    def _strong(cls, value: SecretStr | None) -> SecretStr | None:
        token = "" if value is None else value.get_secret_value()
        if value is not None and len(token) < SHORTEST_TOKEN:
            raise ValueError(f"a token needs at least {SHORTEST_TOKEN} characters")
        if not re.fullmatch(r"[!-~]*", token):
            raise ValueError("a token is sent in a header: it holds letters, digits and signs, and no space")
        return value

    @property
    def api_address(self) -> str:
        """Where the scheduler and the command line find the API: as it is set, or here where it would listen."""
        if "api_url" in self.model_fields_set:
            return self.api_url
        host = ANY_HOST.get(self.api_host, self.api_host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.api_port}"

    @property
    def var(self) -> Path:
        """What the API alone keeps: log, records, pulse, the operator's and the client's token."""
        return self.home / "var"

    @property
    def secrets(self) -> Path:
        """Where the API leaves the scheduler's token."""
        return self.home / "secrets"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def events_file(self) -> Path:
        return below("sqlite:///", self.database_url, self.var / "events.db")

    @property
    def records_file(self) -> Path:
        return below("sqlite:///", self.records_url, self.var / "records.db")

    @property
    def store(self) -> Path:
        return below("file://", self.store_url, self.home / "api" / "prod_models")

    @property
    def scratch(self) -> Path:
        """Where runs work, one folder each."""
        return self.home / "scheduled_task" / "retrained_models"

    @property
    def holdouts(self) -> Path:
        """The scheduler's cache of holdouts, by digest."""
        return self.home / "scheduled_task" / "test_data"

    @property
    def definitions(self) -> Path:
        return self.home / self.models_dir


def below(scheme: str, url: str, default: Path) -> Path:
    """The path that a URL names."""
    return Path(url.removeprefix(scheme)) if url else default


def names_a_path(url: str, scheme: str) -> bool:
    return url.startswith(scheme) and len(url) > len(scheme)


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings; `environment` and `.env` are where unknown names are looked for.

    Raises:
        BadSettings: a value is impossible or a name is unknown, in one line that names it and not its value.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    try:
        given = {name.upper() for name in (*environment, *DotEnvSettingsSource(Settings).env_vars)}
        if unknown := sorted(name for name in given if name.startswith(PREFIX) and name not in known):
            raise BadSettings(f"{unknown[0]} is no setting.", remedy=REMEDY)
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name, why = PREFIX + str(first["loc"][0]).upper(), first["msg"].removeprefix("Value error, ")
        raise BadSettings(f"{name}: {why}.", remedy=REMEDY) from None
    except (OSError, UnicodeDecodeError):
        raise BadSettings("The file .env cannot be read as text.", remedy="Mend it or remove it.") from None
