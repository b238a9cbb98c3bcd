"""A source that plays a file back, so that a fresh installation has something new to learn every minute.

Nothing here is special: any class with `get_dataframe(as_of)` is a source. This one holds real measurements in the
order in which they were made, and lets one row after the other arrive. The rows, and their order, are the same
everywhere; only the time of the first use differs, and it is remembered, so that a restart changes nothing.
"""

import contextlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from understudy.errors import SourceFailed

RECENT = timedelta(minutes=10)
HERE = Path(__file__).parent


def now() -> datetime:
    return datetime.now(UTC)


class Feed:
    """Rows of a CSV file beside this module, with the column `arrived_at` added."""

    def __init__(
        self,
        file: str,
        *,
        known_at_start: int,
        rows_per_minute: float,
        possible: Mapping[str, tuple[float, float]] | None = None,
        state: Path | None = None,
        clock: Callable[[], datetime] = now,
    ) -> None:
        """Describe the feed; nothing is read before `get_dataframe` is called.

        Args:
            file: name of a CSV file, which may be compressed.
            known_at_start: so many rows have arrived before the first use, at the same pace.
            rows_per_minute: pace of all rows.
            possible: column -> lowest and highest reading that the instrument can give; others become null.
            state: where the first use is remembered. None: with the state of the scheduler.
            clock: says what time it is, at the first use only.
        """
        self.file, self.known_at_start, self.rows_per_minute = file, known_at_start, rows_per_minute
        self.possible, self.state, self.clock = dict(possible or {}), state, clock

    def get_dataframe(self, as_of: datetime | None) -> pd.DataFrame:
        """All rows that had arrived by `as_of`, or by now. `attrs["note"]` says how far the feed is, and when it ended.

        Raises SourceFailed where there is no such row, or the file or the first use cannot be read.
        """
        moment = as_of or self.clock()
        frame, start = self._rows(), self._first_use(moment)
        arrived_at = [start + self._since_first_use(row) for row in range(len(frame))]
        frame["arrived_at"] = pd.to_datetime(pd.Series(arrived_at), utc=True)
        arrived = frame[frame["arrived_at"] <= moment]
        if arrived.empty:
            raise SourceFailed(f"No row of `{self.file}` had arrived by then.", remedy="Ask for a later `as_of`.")
        arrived.attrs["note"] = self._note(len(arrived), len(frame), arrived_at[-1])
        return arrived

    def ended_at(self) -> datetime:
        """When the last row arrives, or has arrived."""
        return self._first_use() + self._since_first_use(len(self._rows()) - 1)

    def __repr__(self) -> str:
        return f"Feed({self.file!r}, known_at_start={self.known_at_start}, rows_per_minute={self.rows_per_minute})"

    def _rows(self) -> pd.DataFrame:
        """The whole file, so that no column's type depends on how much of it has arrived."""
        try:
            frame = pd.read_csv(HERE / self.file)
        except (OSError, ValueError) as error:
            raise SourceFailed(
                f"`{self.file}` cannot be read.",
                remedy="Put the file that came with the release back beside `feed.py`.",
            ) from error
        for column, (lowest, highest) in self.possible.items():
            frame[column] = frame[column].where(frame[column].between(lowest, highest))
        return frame

    def _since_first_use(self, row: int) -> timedelta:
        return timedelta(minutes=(row + 1 - self.known_at_start) / self.rows_per_minute)

    def _note(self, arrived: int, total: int, ends: datetime) -> str:
        when = f"{ends:%Y-%m-%d %H:%M:%S} UTC"
        if arrived < total:
            return f"{arrived} of the {total} rows of `{self.file}` have arrived; the last one comes at {when}."
        note = (
            f"`{self.file}` has ended: the last of its {total} rows arrived at {when}. There is nothing new to learn."
        )
        logging.getLogger(__name__).info(note)
        return note

    def _first_use(self, moment: datetime | None = None) -> datetime:
        """The remembered moment. Whoever is first writes it down, whole or not at all; all others read it.

        A first run asks for the rows of the moment when it was requested, a few seconds ago: that is the first use.
        """
        place = self.state or _scheduler_state() / f"{self.file}.json"
        try:
            if not place.exists():
                now = self.clock()
                first = moment if moment is not None and now - RECENT <= moment <= now else now
                _write_once(place, json.dumps({"first_use": first.isoformat()}))
            return datetime.fromisoformat(json.loads(place.read_text())["first_use"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SourceFailed(
                f"The first use of `{self.file}` can be neither read nor remembered.",
                remedy=f"Make the folder of `{place.name}` writable for the scheduler, and the file undamaged.",
            ) from error


def _scheduler_state() -> Path:
    return Path(os.environ.get("UNDERSTUDY_HOME") or HERE.parent) / "scheduled_task" / "retrained_models" / "feeds"


def _write_once(place: Path, text: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=place.parent) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # another process was first: its moment counts
            os.link(file.name, place)
