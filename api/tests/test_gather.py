"""Requests that share a call, requests that have a lane, and what each of them gets when one of them is bad."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from api.answered import Answered
from api.answering import Answering
from api.breaker import Breakers
from api.cost import FULL, Cost
from api.fit import SIGNATURE, Nobody
from api.identity import DIGITS, Identities
from api.lane import MOST_WAITING
from api.mark import Marks
from api.serving import Served
from understudy.adapters.runtime import Packer
from understudy.errors import DeadlinePassed, ModelFailed, Overloaded, UnderstudyError
from understudy.records import NUMBERS

QUICK, DEAR = Cost(0.0, 0.0), Cost(1.0, 0.0)
POISON = 1313.0


class Doubling:
    """A model of one number: twice of it. It fails where 1313 is among its rows, and waits while it is told to."""

    packer = Packer(1)
    signature = SIGNATURE

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.began = threading.Event()
        self.options: Any = None

    def run(self, rows: "np.ndarray[Any, Any]", options: Any = None) -> "np.ndarray[Any, Any]":
        self.calls.append(len(rows))
        self.began.set()
        self.options = options
        while not self.go_on.wait(0.01):
            if options is not None and options.terminate:
                raise ModelFailed("The model was stopped.", remedy="Wait.")
        if (rows == POISON).any():
            raise ModelFailed("The model is superstitious.", remedy="Ask for another number.")
        return rows * np.float32(2)

    def interruptible(self) -> Any:
        return None


class Options:
    terminate = False


class Obedient(Doubling):
    """Its calls can be given up."""

    def interruptible(self) -> Options:
        return Options()


class Noting(Nobody):
    """Keeps what it is told of."""

    def __init__(self) -> None:
        self.calls: list[Answered] = []
        self.codes: list[str] = []

    def add(self, answered: Answered) -> None:
        self.calls.append(answered)

    def refused(self, model: str, code: str) -> None:
        self.codes.append(code)


class Stage:
    """One version, and who answers for it."""

    def __init__(self, model: Doubling, cost: Cost) -> None:
        self.model, self.notes, self.hung = model, Noting(), 0
        breaker = Breakers(Marks(None, "nobody")).of("double", "1")
        runtime: Any = model
        self.served = Served("double", "1", runtime, cost=cost, loop_limit_s=0.002, breaker=breaker)
        self.answering = Answering(
            lambda name: self.served, self.notes, self.notes, self.notes, lambda served: self._hang()
        )

    def _hang(self) -> None:
        self.hung += 1

    async def ask(self, *numbers: float, **named: Any) -> str | UnderstudyError:
        """What is answered to a body with these numbers: the part between the first brackets, or the error."""
        rows = ",".join(f"[{number}]" for number in numbers)
        body = f'{{"x":{numbers[0]}}}' if len(numbers) == 1 else f'{{"values":[{rows}]}}'
        try:
            content, _, _ = await self.answering.answer("double", body.encode(), **named)
        except UnderstudyError as error:
            return error
        return content.decode().split("[")[1].split("]")[0]


@pytest.fixture
def stage() -> Iterator[Callable[..., Stage]]:
    made: list[Stage] = []

    def make(cost: Cost = QUICK, model: type[Doubling] = Doubling) -> Stage:
        made.append(Stage(model(), cost))
        return made[-1]

    yield make
    for one in made:
        one.model.go_on.set()
        one.served.close()


def test_requests_of_one_turn_share_a_call_and_each_gets_its_own_answer(stage: Callable[..., Stage]) -> None:
    asked = stage()

    async def all_at_once() -> list[str | UnderstudyError]:
        return await asyncio.gather(*(asked.ask(i) for i in range(100)))

    assert asyncio.run(all_at_once()) == [f"{2.0 * i}" for i in range(100)]
    assert asked.model.calls == [FULL, 100 - FULL]
    assert [call.n for call in asked.notes.calls] == [FULL, 100 - FULL]
    assert np.frombuffer(asked.notes.calls[1].rows, np.float32).tolist() == [*range(FULL, 100)]  # type: ignore[arg-type]


def test_a_row_that_the_model_cannot_answer_fails_alone(stage: Callable[..., Stage]) -> None:
    asked = stage()

    async def all_at_once() -> list[str | UnderstudyError]:
        return [*await asyncio.gather(asked.ask(1), asked.ask(POISON), asked.ask(3))]

    one, thirteen, three = asyncio.run(all_at_once())

    assert (one, three) == ("2.0", "6.0")
    assert isinstance(thirteen, ModelFailed)
    assert asked.notes.codes == ["model_error"]
    assert sum(call.n for call in asked.notes.calls) == 2


def test_every_id_is_given_once_and_they_rise(stage: Callable[..., Stage]) -> None:
    asked = stage()

    async def ids() -> list[bytes]:
        found: list[bytes] = []
        for n in (1, 5, 70):
            bodies = [b'{"x":1}'] * n
            answers = await asyncio.gather(*(asked.answering.answer("double", body) for body in bodies))
            found += [identity for _, identity, _ in answers]
        return found

    found = asyncio.run(ids())

    assert len(set(found)) == 76
    assert found == sorted(found)


def test_a_dear_model_answers_in_its_lane_where_those_that_wait_share_the_next_call(
    stage: Callable[..., Stage],
) -> None:
    asked = stage(DEAR)

    async def five() -> list[str | UnderstudyError]:
        asked.model.go_on.clear()
        first = asyncio.create_task(asked.ask(0, deadline_s=60.0))
        await asyncio.to_thread(asked.model.began.wait)
        others = [asyncio.create_task(asked.ask(i, i + 1, deadline_s=60.0)) for i in (1, POISON, 5)]
        await asyncio.sleep(0.05)
        asked.model.go_on.set()
        return await asyncio.gather(first, *others)

    zero, one, thirteen, three = asyncio.run(five())

    assert (zero, one, three) == ("0.0", "2.0,4.0", "10.0,12.0")
    assert isinstance(thirteen, ModelFailed)
    assert asked.model.calls == [1, 6, 2, 2, 2]


def test_the_loop_goes_on_while_a_dear_model_is_called(stage: Callable[..., Stage]) -> None:
    dear, quick = stage(DEAR), stage()

    async def both() -> tuple[str | UnderstudyError, bool]:
        dear.model.go_on.clear()
        slow = asyncio.create_task(dear.ask(1, deadline_s=60.0))
        await asyncio.to_thread(dear.model.began.wait)
        answer = await quick.ask(4)
        was_done = slow.done()
        dear.model.go_on.set()
        await slow
        return answer, was_done

    assert asyncio.run(both()) == ("8.0", False)


def test_who_would_wait_for_too_long_is_refused_at_once(stage: Callable[..., Stage]) -> None:
    asked = stage(DEAR)

    async def crowd() -> list[str | UnderstudyError]:
        asked.model.go_on.clear()
        waiting = [asyncio.create_task(asked.ask(i, deadline_s=60.0)) for i in range(2 * MOST_WAITING)]
        while sum(task.done() for task in waiting) < MOST_WAITING:
            await asyncio.sleep(0.01)
        asked.model.go_on.set()
        return await asyncio.gather(*waiting)

    found = asyncio.run(crowd())

    refused = [one for one in found if isinstance(one, Overloaded)]
    assert len(refused) == MOST_WAITING
    assert [one for one in found if isinstance(one, str)] == [f"{2.0 * i}" for i in range(MOST_WAITING)]


def test_a_deadline_that_passes_is_told_and_the_lane_answers_again_when_the_call_is_back(
    stage: Callable[..., Stage],
) -> None:
    asked = stage(DEAR)

    async def late() -> list[str | UnderstudyError]:
        asked.model.go_on.clear()
        found = [await asked.ask(1, deadline_s=0.05), await asked.ask(2, deadline_s=0.05)]
        asked.model.go_on.set()
        while isinstance(answer := await asked.ask(3), Overloaded):
            await asyncio.sleep(0.01)
        return [*found, answer]

    passed, stuck, again = asyncio.run(late())

    assert isinstance(passed, DeadlinePassed)
    assert isinstance(stuck, Overloaded)
    assert again == "6.0"
    assert asked.hung == 1


def test_a_call_that_can_be_given_up_is(stage: Callable[..., Stage]) -> None:
    asked = stage(DEAR, Obedient)

    async def late() -> list[str | UnderstudyError]:
        asked.model.go_on.clear()
        passed = await asked.ask(1, deadline_s=0.05)
        while not asked.model.options.terminate:
            await asyncio.sleep(0.01)
        asked.model.go_on.set()
        return [passed, await asked.ask(2, deadline_s=60.0)]

    passed, next_one = asyncio.run(late())

    assert isinstance(passed, DeadlinePassed)
    assert next_one == "4.0"


def test_a_deadline_that_has_passed_before_is_told_without_asking(stage: Callable[..., Stage]) -> None:
    asked = stage()

    assert isinstance(asyncio.run(asked.ask(1, deadline_s=0.0)), DeadlinePassed)
    assert asked.model.calls == []


def test_a_deadline_that_passes_while_the_answer_is_on_its_way_costs_nobody_else_anything(
    stage: Callable[..., Stage],
) -> None:
    asked = stage(DEAR)

    async def late() -> list[str | UnderstudyError]:
        asked.model.go_on.clear()
        first = asyncio.create_task(asked.ask(1, deadline_s=0.2))
        await asyncio.to_thread(asked.model.began.wait)
        asked.model.go_on.set()
        time.sleep(0.5)  # the loop stands still; the call has come back meanwhile, and its deadline has passed
        return [await first, await asked.ask(2, deadline_s=60.0)]

    first, second = asyncio.run(late())

    assert isinstance(first, DeadlinePassed) or first == "2.0"
    assert second == "4.0"
    assert asked.hung == 0


def test_a_call_goes_on_while_somebody_waits_for_it(stage: Callable[..., Stage]) -> None:
    asked = stage(DEAR, Obedient)

    async def two() -> list[str | UnderstudyError]:
        asked.model.go_on.clear()
        first = asyncio.create_task(asked.ask(0, deadline_s=60.0))
        await asyncio.to_thread(asked.model.began.wait)
        short = asyncio.create_task(asked.ask(1, deadline_s=0.3))
        patient = asyncio.create_task(asked.ask(2, deadline_s=60.0))
        await asyncio.sleep(0.05)
        asked.model.began.clear()
        asked.model.go_on.set()
        await first
        asked.model.go_on.clear()
        found = [await short]
        asked.model.go_on.set()
        return [*found, await patient]

    _, patient = asyncio.run(two())

    assert patient == "4.0"
    assert asked.model.calls == [1, 2], "the call that both share is not given up for one of them"
    assert asked.hung == 0


def test_an_id_has_the_same_length_when_the_numbers_begin_again() -> None:
    identities = Identities()
    identities.take(NUMBERS - 3)

    stamp, first = identities.take(5)

    assert {len(identities.of(stamp, first + i)) for i in range(5)} == {DIGITS}


class Short(Doubling):
    """Answers fewer rows than it is asked."""

    def run(self, rows: "np.ndarray[Any, Any]", options: Any = None) -> "np.ndarray[Any, Any]":
        return super().run(rows, options)[1:]


def test_nobody_waits_for_ever_where_a_model_answers_fewer_rows_than_it_was_asked(stage: Callable[..., Stage]) -> None:
    asked = stage(QUICK, Short)

    async def both() -> list[str | UnderstudyError]:
        return [*await asyncio.gather(asked.ask(1), asked.ask(2))]

    assert all(isinstance(one, ModelFailed) for one in asyncio.run(both()))
    assert asked.served.in_flight == 0
