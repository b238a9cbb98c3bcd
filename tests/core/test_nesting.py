from typing import Any

import pytest

from understudy.nesting import DEEPEST, is_shallow


def nested(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"in": value, "beside": 0}
    return value


@pytest.mark.parametrize(
    ("levels", "shallow"), [(0, True), (1, True), (DEEPEST, True), (DEEPEST + 1, False), (5000, False)]
)
def test_json_is_shallow_up_to_the_limit_however_deep_it_is(levels: int, shallow: bool) -> None:
    assert is_shallow(nested(levels)) is shallow
