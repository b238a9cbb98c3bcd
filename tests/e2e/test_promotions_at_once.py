"""Two promotions at once on a real log: one comes true, the other is told; an unrelated fact is no conflict."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from pathlib import Path
from threading import Barrier

import pytest

from api.journal import Journal
from tests.given import HERE, SqliteSite, defined, fact, judged, registered, tried
from tests.promoter import another, promote
from understudy import promotion
from understudy.errors import Conflict, NoGround
from understudy.events import Event as Fact
from understudy.events import VersionPromoted
from understudy.ports import EventLog
from understudy.promotion import Wish, done
from understudy.state import Registry

ROUNDS = 100


@pytest.fixture
def site(tmp_path: Path) -> SqliteSite:
    """A log in which version 1 serves, and version 2 could."""
    made = SqliteSite(tmp_path)
    with closing(made.open()) as log:
        log.append(defined(), registered("1"), tried("1"), registered("2"), tried("2"))
        journal = Journal(log)
        promote(journal, another(journal, "first"))
    return made


@pytest.fixture
def logs(site: SqliteSite) -> Iterator[tuple[EventLog, EventLog]]:
    """Two connections, as two processes have them."""
    with closing(site.open()) as one, closing(site.open()) as other:
        yield one, other


def chain_of_champions(log: EventLog) -> int:
    """Check that each promotion replaced the champion that the one before had made; return how many there were."""
    champion, count = None, 0
    for entry in log.read():
        if isinstance(entry.event, VersionPromoted):
            assert entry.event.replaces == champion
            champion, count = entry.event.version, count + 1
    return count


def test_of_two_promotions_at_once_one_comes_true_and_the_other_is_told(logs: tuple[EventLog, EventLog]) -> None:
    journals = [Journal(log) for log in logs]
    together, answers = Barrier(2), Counter[tuple[str, ...]]()

    def one_of_two(journal: Journal, wish: Wish) -> str:
        together.wait()
        try:
            return "done" if done(promote(journal, wish).models["rain"], wish.key) else "lost"
        except (Conflict, NoGround) as error:
            return type(error).__name__

    with ThreadPoolExecutor(2) as pool:
        for number in range(ROUNDS):
            champion = journals[0].catch_up().models["rain"].champion
            versions = [str(3 + 2 * number), str(4 + 2 * number)]
            for version in versions:
                logs[0].append(registered(version), tried(version), judged(version, champion=champion))
            wishes = [Wish(model="rain", version=version, key=version, by="scheduler") for version in versions]
            answers[tuple(sorted(pool.map(one_of_two, journals, wishes)))] += 1

    assert sum(count for answer, count in answers.items() if "done" in answer) == ROUNDS, answers
    assert set(answers) <= {("Conflict", "done"), ("NoGround", "done")}
    assert chain_of_champions(logs[1]) == 1 + ROUNDS


def test_the_same_promotion_sent_twice_at_once_is_one_event_and_both_learn_of_it(
    logs: tuple[EventLog, EventLog],
) -> None:
    journals = [Journal(log) for log in logs]
    together = Barrier(2)

    def send(journal: Journal, wish: Wish) -> bool:
        together.wait()
        promote(journal, wish)
        return done(journal.catch_up().models["rain"], wish.key) is not None

    with ThreadPoolExecutor(2) as pool:
        for number in range(20):
            wish = another(journals[0], str(number))
            assert list(pool.map(send, journals, [wish, wish])) == [True, True]

    assert chain_of_champions(logs[1]) == 1 + 20


def test_processes_that_promote_at_once_replace_only_what_they_saw(site: SqliteSite) -> None:
    command = [sys.executable, "-m", "tests.promoter", site.address]
    children = [
        subprocess.Popen([*command, name, str(ROUNDS // 2)], stdout=subprocess.PIPE, text=True) for name in ("a", "b")
    ]
    answers = Counter(answer for child in children for answer in child.communicate()[0].split())

    assert [child.returncode for child in children] == [0, 0]
    assert answers.total() == ROUNDS
    assert set(answers) <= {"done", "Conflict", "NotTheChampion"}
    with closing(site.open()) as log:
        assert chain_of_champions(log) == 1 + answers["done"]


def test_a_fact_about_something_else_makes_a_promotion_decide_again_and_never_refuses_it(
    logs: tuple[EventLog, EventLog],
) -> None:
    journal, asked = Journal(logs[0]), list[int]()
    wish = another(journal, "key")

    def disturbed(state: Registry, now: datetime) -> tuple[Fact, ...]:
        asked.append(state.position)
        if len(asked) <= 5:
            logs[1].append(fact(f"by-hand/{len(asked)}", model="bike_demand"))
        return promotion.start(state, wish, now, HERE)

    journal.decide(disturbed)
    promote(journal, wish)

    assert asked == list(range(asked[0], asked[0] + 6))
    assert chain_of_champions(logs[1]) == 2
