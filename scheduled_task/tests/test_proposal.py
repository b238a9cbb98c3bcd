from typing import Any

import pytest

from scheduled_task.tests.given import stream
from scheduled_task.tests.proxy import Fault, proxy
from scheduled_task.tests.site import Site, working
from understudy.adapters.api_client import ApiClient, token_of


def through(site: Site, url: str) -> Any:
    """Clients of a worker whose way to the API leads over `url`; they lose patience soon."""
    return lambda **options: ApiClient(
        url, token_of("scheduler", site.settings), **{"retries": 0, "answer_s": 10.0, **options}
    )


@pytest.mark.fault(61)
def test_a_promotion_whose_answers_are_lost_is_asked_for_until_it_is_answered_and_happens_once(site: Site) -> None:
    site.arrive(stream(1000))
    site.define()
    faults: list[Fault] = ["refuse", "error", "silence", "cut"]

    with proxy(site.settings.api_url, "/model/promote", faults) as way, working(site, through(site, way.url)):
        run = site.ended(site.ask("stream", "first"))

    assert (run["state"], run["reason"]) == ("succeeded", "Version 1 was promoted.")
    assert len(way.seen) == 5
    assert len(site.events("version.promoted", "stream")) == 1
    assert run["attempt"] == 1


@pytest.mark.fault(61)
@pytest.mark.parametrize("route", ["versions", "versions/1/evidence"])
def test_a_registration_or_a_verdict_whose_answer_is_lost_happens_once(site: Site, route: str) -> None:
    name = f"lost-{route.count('/')}"
    site.arrive(stream(1000), name)
    site.define(name)
    faults: list[Fault] = ["refuse", "error", "cut"]

    with proxy(site.settings.api_url, f"/models/{name}/{route}", faults) as way, working(site, through(site, way.url)):
        run = site.ended(site.ask(name, "first"))

    assert (run["state"], run["version"]) == ("succeeded", "1")
    assert len(site.events("version.registered", name)) == 1
    assert len(site.events("version.promoted", name)) == 1
