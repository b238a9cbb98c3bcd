"""Looks labels up in the source of a model, in a process of its own: sources are users' code, and a token is near.

python -m scheduled_task.label_lookup DEFINITIONS KEYS.json ANSWER.json MEMORY_MB
"""

import json
import sys
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scheduled_task import limits


def looked_up(folder: Path, name: str, keys: Collection[str]) -> dict[str, Any]:
    """Key as text -> label, of those that the source has labelled; or why it cannot be asked."""
    try:
        return {"labels": labels_of(folder, name, frozenset(keys)), "problem": None}
    except Exception as error:  # noqa: BLE001 - a source is the user's own code and may raise anything
        return {"labels": {}, "problem": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}


def labels_of(folder: Path, name: str, keys: Collection[str]) -> Mapping[str, Any]:
    """Of a key that has several rows, the latest counts."""
    from understudy.adapters import definitions, snapshot

    model = definitions.load_named(folder, name).model
    if model.key is None:
        return {}
    now = datetime.now(UTC)
    frame = snapshot.take(model, as_of=now, now=now).frame
    rows = frame.loc[frame[model.target].notna() & frame[model.key].notna(), [model.key, model.target]]
    texts = [text_of(key) for key in rows[model.key].tolist()]
    return {key: plain(label) for key, label in zip(texts, rows[model.target].tolist(), strict=True) if key in keys}


def text_of(key: Any) -> str:
    """A key as text; a column of integers with a gap in it holds floats."""
    return str(int(key)) if isinstance(key, float) and key.is_integer() else str(key)


def plain(label: Any) -> Any:
    """A label as JSON has it."""
    return label if isinstance(label, str | int | float | bool) else str(label)


def main() -> int:
    folder, keys, answer = map(Path, sys.argv[1:4])
    limits.apply(memory_mb=int(sys.argv[4]))
    limits.end_with_parent()
    asked = json.loads(keys.read_text("utf-8"))
    temporary = answer.with_suffix(".writing")
    temporary.write_text(json.dumps(looked_up(folder, asked["model"], asked["keys"])), "utf-8")
    temporary.replace(answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
