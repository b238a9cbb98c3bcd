"""Settings come from the environment and `.env`; what is misspelt, impossible or weak refuses to start, in one line."""

import os
from pathlib import Path

import pytest

from understudy.errors import BadSettings
from understudy.settings import PREFIX, SHORTEST_TOKEN, Settings, read_settings

SECRET = "q7Zt-this-value-must-never-be-shown"


@pytest.fixture(autouse=True)
def _nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the environment nor the `.env` of whoever runs the tests counts."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.upper().startswith(PREFIX):
            monkeypatch.delenv(name)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return monkeypatch


def read() -> Settings:
    return read_settings(os.environ)


def refusal() -> str:
    with pytest.raises(BadSettings) as refused:
        read()
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_without_any_setting_everything_has_a_place_below_the_home() -> None:
    settings = read()

    assert (settings.api_host, settings.api_port, settings.api_url) == ("127.0.0.1", 8000, "http://127.0.0.1:8000")
    assert (settings.open, settings.cors_origins) == (("predict", "read"), ())
    assert (settings.operator_token, settings.scheduler_token, settings.client_token) == (None, None, None)
    assert settings.events_file == Path("var/events.db")
    assert settings.records_file == Path("var/records.db")
    assert settings.store == Path("api/prod_models")


def test_all_that_is_kept_lies_below_the_home(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("UNDERSTUDY_HOME", "/srv/understudy")

    settings = read()

    places = {
        settings.var, settings.secrets, settings.logs, settings.store, settings.scratch, settings.holdouts,
        settings.definitions, settings.events_file, settings.records_file,
    }  # fmt: skip
    assert len(places) == 9
    assert all(place.is_relative_to("/srv/understudy") for place in places)


def test_definitions_may_lie_elsewhere(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("UNDERSTUDY_HOME", "/srv/understudy")
    environment.setenv("UNDERSTUDY_MODELS_DIR", "/home/ann/models")

    assert read().definitions == Path("/home/ann/models")


@pytest.mark.parametrize(
    ("name", "url", "place", "path"),
    [
        ("DATABASE_URL", "sqlite:////srv/log.db", "events_file", "/srv/log.db"),
        ("DATABASE_URL", "sqlite:///data/log.db", "events_file", "data/log.db"),
        ("RECORDS_URL", "sqlite:////srv/records.db", "records_file", "/srv/records.db"),
        ("STORE_URL", "file:///srv/store", "store", "/srv/store"),
        ("STORE_URL", "file:///srv/a store", "store", "/srv/a store"),
    ],
)
def test_a_url_names_where_something_is_kept(
    environment: pytest.MonkeyPatch, name: str, url: str, place: str, path: str
) -> None:
    environment.setenv(PREFIX + name, url)

    assert getattr(read(), place) == Path(path)


@pytest.mark.parametrize(
    ("name", "url", "hint"),
    [
        ("DATABASE_URL", "postgresql://db/understudy", "write sqlite:///PATH"),
        ("DATABASE_URL", "/srv/log.db", "write sqlite:///PATH"),
        ("DATABASE_URL", "sqlite://log.db", "write sqlite:///PATH"),
        ("DATABASE_URL", "sqlite:///", "write sqlite:///PATH"),
        ("RECORDS_URL", "records.db", "write sqlite:///PATH"),
        ("STORE_URL", "s3://bucket/prefix", "write file:///PATH"),
        ("STORE_URL", "file://store", "write file:///PATH"),
        ("STORE_URL", "file:///", "write file:///PATH"),
        ("API_URL", "127.0.0.1:8000", "write http://HOST:PORT"),
        ("API_URL", "", "write http://HOST:PORT"),
        ("API_URL", "file:///etc/passwd", "write http://HOST:PORT"),
    ],
)
def test_a_url_that_this_release_cannot_use_is_refused_with_one_that_it_can(
    environment: pytest.MonkeyPatch, name: str, url: str, hint: str
) -> None:
    environment.setenv(PREFIX + name, url)

    assert refusal().startswith(f"UNDERSTUDY_{name}: ")
    assert hint in refusal()


def test_lists_are_written_with_commas(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("UNDERSTUDY_ALLOWED_HOSTS", " models.example.org ,, localhost,")
    environment.setenv("UNDERSTUDY_CORS_ORIGINS", "https://a.example")
    environment.setenv("UNDERSTUDY_OPEN", "")

    settings = read()

    assert settings.allowed_hosts == ("models.example.org", "localhost")
    assert settings.cors_origins == ("https://a.example",)
    assert settings.open == ()


# What refuses to start: the settings' part of fault 87


@pytest.mark.parametrize(
    "name", ["UNDERSTUDY_PROT", "UNDERSTUDY_", "UNDERSTUDY_API", "UNDERSTUDY_HOME_", "understudy_prot"]
)
def test_a_misspelt_name_is_refused_and_does_not_become_a_default(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.setenv(name, SECRET)

    assert refusal() == f"{name.upper()} is no setting. See the settings table in README.md."


def test_a_misspelt_name_in_the_file_is_refused_too() -> None:
    Path(".env").write_text(f"UNDERSTUDY_API_PROT=8001\nUNDERSTUDY_OPERATOR_TOKEN={SECRET}\n")

    assert refusal() == "UNDERSTUDY_API_PROT is no setting. See the settings table in README.md."


def test_names_that_are_not_ours_are_none_of_our_business(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("API_PORT", "9")
    environment.setenv("MY_UNDERSTUDY_PROT", "9")
    Path(".env").write_text("PORT=9\nexport COMPOSE_PROJECT_NAME=x\n")

    assert read().api_port == 8000


def test_the_environment_goes_before_the_file(environment: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("# ours\nUNDERSTUDY_API_PORT=8001\nUNDERSTUDY_RUNS_AT_ONCE=3\n")
    environment.setenv("UNDERSTUDY_API_PORT", "8002")

    assert (read().api_port, read().runs_at_once) == (8002, 3)


def test_a_file_that_is_no_text_is_refused() -> None:
    Path(".env").write_bytes(b"UNDERSTUDY_API_PORT=\xff\xfe\n")

    assert refusal().startswith("The file .env cannot be read as text.")


@pytest.mark.parametrize("role", ["OPERATOR", "SCHEDULER", "CLIENT"])
@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("", "at least 32 characters"),
        ("changeme", "at least 32 characters"),
        ("x" * (SHORTEST_TOKEN - 1), "at least 32 characters"),
        (" " * 40, "no space"),
        ("x" * 40 + "\n", "no space"),
        ("x" * 20 + " " + "x" * 20, "no space"),
        ("é" * 40, "no space"),
    ],
)
def test_a_weak_token_or_one_that_cannot_be_sent_is_refused(
    environment: pytest.MonkeyPatch, role: str, token: str, why: str
) -> None:
    environment.setenv(f"UNDERSTUDY_{role}_TOKEN", token)

    problem = refusal()

    assert problem.startswith(f"UNDERSTUDY_{role}_TOKEN: a token ")
    assert why in problem


@pytest.mark.parametrize("token", ["x" * SHORTEST_TOKEN, "aZ09-_.~+/=" * 4])
def test_a_token_of_enough_characters_is_taken_as_it_is(environment: pytest.MonkeyPatch, token: str) -> None:
    environment.setenv("UNDERSTUDY_CLIENT_TOKEN", token)

    given = read().client_token

    assert given is not None
    assert given.get_secret_value() == token


@pytest.mark.parametrize(
    "name",
    ["API_PORT", "API_WORKERS", "API_URL", "OPEN", "DATABASE_URL", "RECORDS_URL", "STORE_URL", "RUNS_AT_ONCE",
     "RUN_TIMEOUT_S", "RUN_MEMORY_MB"],
)  # fmt: skip
def test_an_impossible_value_is_named_by_its_setting_and_never_shown(
    environment: pytest.MonkeyPatch, name: str
) -> None:
    environment.setenv(PREFIX + name, SECRET)

    problem = refusal()

    assert problem.startswith(f"UNDERSTUDY_{name}: ")
    assert SECRET not in problem


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_PORT", "0"),
        ("API_PORT", "65536"),
        ("API_PORT", "80.5"),
        ("API_WORKERS", "65"),
        ("RUNS_AT_ONCE", "0"),
        ("RUN_TIMEOUT_S", "0"),
        ("RUN_TIMEOUT_S", "nan"),
        ("RUN_TIMEOUT_S", "inf"),
        ("RUN_TIMEOUT_S", "-1"),
        ("RUN_MEMORY_MB", "1"),
        ("OPEN", "predict,write"),
        ("OPEN", "*"),
    ],
)
def test_a_value_beyond_its_limits_is_refused(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    environment.setenv(PREFIX + name, value)

    assert refusal().startswith(f"UNDERSTUDY_{name}: ")


def test_no_token_is_shown_where_settings_are_printed(environment: pytest.MonkeyPatch) -> None:
    for role in ("OPERATOR", "SCHEDULER", "CLIENT"):
        environment.setenv(f"UNDERSTUDY_{role}_TOKEN", SECRET)

    settings = read()

    for shown in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert SECRET not in shown


def test_settings_are_read_once_and_never_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read().api_port = 1  # type: ignore[misc]


def test_every_setting_says_what_it_is() -> None:
    for field in Settings.model_fields.values():
        assert field.description
        assert field.description.endswith(".")
