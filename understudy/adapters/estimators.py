"""What scikit-learn's estimators have inside, without importing scikit-learn."""

from collections.abc import Iterator
from typing import Any


def parts_of(estimator: Any) -> Iterator[Any]:
    """Everything of scikit-learn's inside an estimator, itself first, each once."""
    waiting, seen = [estimator], set()
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, list | tuple):
            waiting.extend(part)
        elif isinstance(part, dict):
            waiting.extend(part.values())
        elif type(part).__module__.startswith("sklearn.") and hasattr(part, "__dict__"):
            yield part
            waiting.extend(vars(part).values())


def set_seeds(estimator: Any, seed: int) -> None:
    """Give every `random_state` that is open the seed, in splitters too, which are no parameters of their own."""
    given = estimator.get_params(deep=True)
    open_seeds = [name for name, value in given.items() if name.split("__")[-1] == "random_state" and value is None]
    estimator.set_params(**dict.fromkeys(open_seeds, seed))
    for part in parts_of(estimator):
        if vars(part).get("random_state", seed) is None:
            part.random_state = seed


def forget_process(estimator: Any) -> None:
    """Clear what a fitted estimator remembers of the process that fitted it: durations of a search, an address."""
    for part in parts_of(estimator):
        if hasattr(part, "cv_results_") and isinstance(part.cv_results_, dict):
            part.cv_results_ = {name: value for name, value in part.cv_results_.items() if not name.endswith("_time")}
        if hasattr(part, "refit_time_"):
            part.refit_time_ = 0.0
        if hasattr(part, "_stop_words_id"):
            part._stop_words_id = 0
