"""Files to learn from. Anything else with `get_dataframe(as_of)` is a source too (`models/feed.py` is one).

A file that somebody is still writing must never be taken for a short one. So its size and time must be the same before
and after reading, a Parquet file must have its footer, every line of a CSV file the same number of fields, and the last
line its end. Who writes to another name and renames will never meet any of this.
"""

import csv
import gzip
import os
import sys
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import sleep
from typing import IO, TYPE_CHECKING, Any, cast

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from understudy.errors import SourceFailed

if TYPE_CHECKING:
    import _csv

FILE_TIME_STEP_S = 0.02
"""File times move with the timer of the kernel, in steps of up to 10 ms: two writes within one look like one."""


class Csv:
    """Rows of a CSV file, UTF-8, with a header; compressed if its name ends in `.gz`."""

    def __init__(self, path: str | Path, *, time: str | None = None) -> None:
        """Name the file; it is not opened before `get_dataframe` is called.

        Args:
            path: starts at the folder of the file that says `Csv(...)`, unless it is absolute.
            time: column with the time of each row (ISO 8601; UTC where it names no zone).
        """
        self.path, self.time = str(path), time
        self._file = _folder_of_caller() / path

    def get_dataframe(self, as_of: datetime | None) -> pd.DataFrame:
        """Rows whose time is at or before `as_of`; all, where no time column was named. Raises SourceFailed."""
        frame = _read_unchanged(self._file, self.path, self._read)
        return _arrived(frame, self.time, as_of, self.path)

    def __repr__(self) -> str:
        return f"Csv({self.path!r})" if self.time is None else f"Csv({self.path!r}, time={self.time!r})"

    def _read(self, file: IO[bytes]) -> pd.DataFrame:
        stream: IO[bytes] = file
        if self.path.endswith(".gz"):
            stream = cast("IO[bytes]", gzip.GzipFile(fileobj=file))  # its trailer says whether it is complete
        elif not _ends_with_a_line_end(file):
            raise ValueError("its last line has no end, so it may still be being written")
        width = _header_width(stream)
        frame = pd.read_csv(stream, encoding="utf-8-sig", low_memory=False)
        if frame.empty:
            raise ValueError("it has no rows")
        if frame.iloc[:, -1].isna().any():  # pandas fills a line that is too short with nulls
            _refuse_short_lines(stream, width)
        return frame


class Parquet:
    """Rows of a Parquet file."""

    def __init__(self, path: str | Path, *, time: str | None = None) -> None:
        """Name the file; arguments as for `Csv`."""
        self.path, self.time = str(path), time
        self._file = _folder_of_caller() / path

    def get_dataframe(self, as_of: datetime | None) -> pd.DataFrame:
        """Rows whose time is at or before `as_of`; all, where no time column was named. Raises SourceFailed."""
        frame = _read_unchanged(self._file, self.path, lambda file: self._read(file, as_of))
        return _arrived(frame, self.time, as_of, self.path)

    def __repr__(self) -> str:
        return f"Parquet({self.path!r})" if self.time is None else f"Parquet({self.path!r}, time={self.time!r})"

    def _read(self, file: IO[bytes], as_of: datetime | None) -> pd.DataFrame:
        parquet = pq.ParquetFile(file)
        if parquet.metadata.num_rows == 0:
            raise ValueError("it has no rows")
        table = pq.read_table(file, filters=self._filter(parquet.schema_arrow, as_of))
        frame: pd.DataFrame = table.to_pandas()
        if frame.index.name is not None:
            frame = frame.reset_index()
        categories = frame.select_dtypes("category")
        return frame.assign(
            **{str(name): column.astype(column.cat.categories.dtype) for name, column in categories.items()}
        )

    def _filter(self, schema: Any, as_of: datetime | None) -> Any:
        """Lets whole row groups be passed over; rows without a time stay in, to be complained about."""
        if self.time is None or as_of is None or self.time not in schema.names:
            return None
        kind = schema.field(self.time).type
        if not pa.types.is_timestamp(kind):
            return None
        moment = as_of if kind.tz else as_of.astimezone(UTC).replace(tzinfo=None)
        return (pc.field(self.time) <= pa.scalar(moment, pa.timestamp("us", tz=kind.tz))) | pc.field(
            self.time
        ).is_null()


def _folder_of_caller() -> Path:
    """The folder of the definition that is being made: of the nearest file up the stack that is not this one."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    file = frame.f_globals.get("__file__")
    return Path(file).absolute().parent if file else Path.cwd()


def _read_unchanged(file: Path, shown: str, read: Callable[[IO[bytes]], pd.DataFrame]) -> pd.DataFrame:
    """Read a file that is the same before and after; `shown` is its name as the definition gives it."""
    try:
        with file.open("rb") as opened:
            before = _settled(opened)
            frame = read(opened)
            after = os.fstat(opened.fileno())
    except FileNotFoundError as error:
        remedy = "Put it there, or correct the path: it starts at the folder of the definition."
        raise SourceFailed(f"There is no file `{shown}`.", remedy=remedy) from error
    except (ValueError, EOFError, OSError, zlib.error, csv.Error, pa.ArrowException) as error:
        raise SourceFailed(
            f"`{shown}` cannot be read: {_in_words(error)}.",
            remedy="Write the file whole under another name, then rename it; the next run reads it again.",
        ) from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise SourceFailed(
            f"`{shown}` was changed while it was being read.",
            remedy="Write the file whole under another name, then rename it; the next run reads it again.",
        )
    return frame


def _settled(opened: IO[bytes]) -> os.stat_result:
    """Size and time of a file, once it is old enough for any later write to give it another time."""
    age = datetime.now(UTC).timestamp() - os.fstat(opened.fileno()).st_mtime
    if 0 <= age < FILE_TIME_STEP_S:
        sleep(FILE_TIME_STEP_S - age)
    return os.fstat(opened.fileno())


def _in_words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()  # without the path, which is nobody's business
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__


def _ends_with_a_line_end(file: IO[bytes]) -> bool:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 1))
    last = file.read(1)
    file.seek(0)
    return last in (b"\n", b"\r", b"")


def _header_width(stream: IO[bytes]) -> int:
    """Number of columns. From a first row with more fields than that, pandas would make an index, without a word."""
    lines = _lines(stream)
    names, first = next(lines, []), next(lines, [])
    stream.seek(0)
    if len(first) > len(names):
        raise ValueError("its lines have more fields than the header")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two of its columns are named `{twice[0][:60]}`")
    return len(names)


def _refuse_short_lines(stream: IO[bytes], width: int) -> None:
    stream.seek(0)
    lines = _lines(stream)
    for fields in lines:
        if fields and len(fields) != width:
            raise ValueError(f"line {lines.line_num} has {len(fields)} fields instead of {width}")


def _lines(stream: IO[bytes]) -> "_csv.Reader":
    return csv.reader(line.decode("utf-8-sig") for line in stream)


def _arrived(frame: pd.DataFrame, time: str | None, as_of: datetime | None, shown: str) -> pd.DataFrame:
    """Turn the time column into UTC, and keep what had arrived."""
    if time is None:
        return frame
    if time not in frame.columns:
        raise SourceFailed(f"`{shown}` has no column `{time}`.", remedy="Name the column that holds the time of a row.")
    frame = frame.assign(**{time: _times(frame[time], shown)})
    if as_of is not None:
        frame = frame[frame[time] <= as_of].reset_index(drop=True)
    if frame.empty:
        raise SourceFailed(f"No row of `{shown}` had arrived by then.", remedy="Ask for a later `as_of`.")
    return frame


def _times(column: "pd.Series[Any]", shown: str) -> "pd.Series[Any]":
    if pd.api.types.is_numeric_dtype(column.dtype):
        raise SourceFailed(
            f"`{column.name}` of `{shown}` holds numbers, not times.",
            remedy="Write times as text, such as 2026-01-31T12:00:00Z; or leave `time` out: then the order counts.",
        )
    parsed = pd.to_datetime(column, utc=True, errors="coerce", format=None if _is_time(column) else "ISO8601")
    if parsed.isna().any():
        row = int(parsed.isna().to_numpy().argmax())
        raise SourceFailed(
            f"Row {row + 1} of `{shown}` has no time in `{column.name}` that can be read.",
            remedy="Write times in ISO 8601, such as 2026-01-31T12:00:00Z.",
        )
    return parsed.dt.as_unit("us")


def _is_time(column: "pd.Series[Any]") -> bool:
    return pd.api.types.is_datetime64_any_dtype(column.dtype)
