"""A process that promotes: `python -m tests.promoter ADDRESS NAME TIMES`.

Each time it replaces whoever serves by another version of `rain`, and says `done`, or the name of the error.
"""

import os
import sys

from api.journal import Journal
from tests.given import HERE, open_log
from understudy import promotion
from understudy.errors import UnderstudyError
from understudy.promotion import Wish
from understudy.state import Registry


def promote(journal: Journal, wish: Wish) -> Registry:
    """Start and commit, as the API does between loading and swapping."""
    journal.decide(lambda state, now: promotion.start(state, wish, now, HERE))
    return journal.decide(lambda state, now: promotion.commit(state, wish.model, wish.key, now, HERE))


def another(journal: Journal, key: str) -> Wish:
    """A wish to replace the champion that was seen last, and no other."""
    champion = journal.catch_up().models["rain"].champion
    version = "2" if champion == "1" else "1"
    return Wish(
        model="rain", version=version, key=key, by="operator", how="override", reason="a test", expects=champion
    )


def main(address: str, name: str, times: str) -> None:
    journal = Journal(open_log(address))
    for number in range(int(times)):
        wish = another(journal, f"{name}/{number}")
        try:
            state = promote(journal, wish)
            answer = "done" if promotion.done(state.models["rain"], wish.key) else "lost"
        except UnderstudyError as error:
            answer = type(error).__name__
        os.write(1, f"{answer}\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
