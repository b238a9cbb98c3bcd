"""Asks for first attempts at the models that nothing serves yet."""

from collections.abc import Mapping
from typing import Any

from scheduled_task.due import first_slot


class Firsts:
    """Remembers since when each attempt is known to have ended, on a clock that never jumps."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, float]] = {}

    def due(self, models: Mapping[str, Mapping[str, Any]], now_s: float) -> dict[str, str]:
        """Model -> slot, for those whose pause is over; the default model first, since `/predict` waits for it."""
        found = {}
        for name, model in sorted(models.items(), key=lambda item: not item[1]["default"]):
            wanted = first_slot(model)
            if wanted is None:
                self._seen.pop(name, None)
                continue
            slot, pause_s = wanted
            if self._seen.get(name, ("", 0.0))[0] != slot:
                self._seen[name] = (slot, now_s)
            if now_s - self._seen[name][1] >= pause_s:
                found[name] = slot
        return found

    def hurry(self, name: str) -> None:
        """Do not wait any longer: the definition has changed, and may have been mended."""
        if name in self._seen:
            self._seen[name] = (self._seen[name][0], float("-inf"))
