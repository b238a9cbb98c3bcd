"""How deep JSON may nest before it is kept: whatever reads it back later does so by recursion."""

from typing import Any

DEEPEST = 20


def is_shallow(value: Any) -> bool:
    """True where lists and objects stand at most DEEPEST levels inside each other."""
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [inner for outer in level for inner in inside(outer)]
        if not level:
            return True
    return False


def inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
