"""Sources: one contract for Csv, Parquet and the feed, and files that somebody is still writing."""

import os
import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from models.feed import Feed
from understudy.adapters.sources import Csv, Parquet
from understudy.errors import SourceFailed
from understudy.ports import Source

START = datetime(2026, 1, 1, tzinfo=UTC)


def rows(count: int = 200) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "when": pd.date_range(START, periods=count, freq="h"),
            "reading": [index / 7 for index in range(count)],
            "kind": ["wet", "dry"] * (count // 2),
        }
    )


def write_long_ago(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    os.utime(file, (0, 0))


def csv_source(folder: Path) -> Source:
    rows().to_csv(folder / "data.csv", index=False)
    return Csv(folder / "data.csv", time="when")


def gzip_source(folder: Path) -> Source:
    rows().to_csv(folder / "data.csv.gz", index=False)
    return Csv(folder / "data.csv.gz", time="when")


def parquet_source(folder: Path) -> Source:
    rows().to_parquet(folder / "data.parquet")
    return Parquet(folder / "data.parquet", time="when")


def feed_source(folder: Path) -> Source:
    """200 of its rows have arrived by START + 199 h, as those of the others."""
    rows(400).drop(columns="when").to_csv(folder / "data.csv", index=False)
    last_known = START + timedelta(hours=99)
    file = str(folder / "data.csv")
    return Feed(file, known_at_start=100, rows_per_minute=1 / 60, state=folder / "feed.json", clock=lambda: last_known)


MAKERS = [csv_source, gzip_source, parquet_source, feed_source]


@pytest.fixture(params=MAKERS, ids=lambda maker: maker.__name__)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    made: Source = request.param(tmp_path)
    return made


def time_of(frame: pd.DataFrame) -> "pd.Series[pd.Timestamp]":
    return frame["when"] if "when" in frame else frame["arrived_at"]


def test_a_source_as_of_a_moment_holds_what_had_arrived_by_then(source: Source) -> None:
    frame = source.get_dataframe(START + timedelta(hours=20))

    assert len(frame) == 21
    assert str(time_of(frame).dtype) == "datetime64[us, UTC]"
    assert time_of(frame).max() == START + timedelta(hours=20)


def test_a_later_moment_adds_rows_and_changes_none(source: Source) -> None:
    earlier = source.get_dataframe(START + timedelta(hours=20))
    later = source.get_dataframe(START + timedelta(hours=120))

    assert len(later) == 121
    pd.testing.assert_frame_equal(later.head(21), earlier)


def test_types_do_not_depend_on_how_much_has_arrived(source: Source) -> None:
    frame = source.get_dataframe(START + timedelta(hours=120))

    assert str(frame["reading"].dtype) == "float64"
    assert str(frame["kind"].dtype) == "str"


def test_a_moment_before_every_row_is_said_and_not_answered_with_nothing(source: Source) -> None:
    with pytest.raises(SourceFailed, match="had arrived by then"):
        source.get_dataframe(START - timedelta(hours=1))


def test_a_path_starts_at_the_folder_of_the_file_that_names_it(tmp_path: Path) -> None:
    rows().to_csv(tmp_path / "beside.csv", index=False)
    text = "from understudy.adapters.sources import Csv\nsource = Csv('beside.csv', time='when')\n"
    names: dict[str, object] = {"__name__": "models.rain", "__file__": str(tmp_path / "rain.py")}

    exec(compile(text, "rain.py", "exec"), names)  # noqa: S102 - what an import does

    source = names["source"]
    assert isinstance(source, Csv)
    assert len(source.get_dataframe(None)) == 200
    assert repr(source) == "Csv('beside.csv', time='when')"


@pytest.mark.parametrize("kind", [Csv, Parquet])
def test_a_missing_file_is_named_as_the_definition_names_it(kind: type[Csv] | type[Parquet]) -> None:
    with pytest.raises(SourceFailed, match=r"^There is no file `nowhere\.csv`"):
        kind("nowhere.csv").get_dataframe(None)


@pytest.mark.fault(71)
def test_a_csv_file_cut_anywhere_is_refused_unless_the_cut_is_between_two_lines(tmp_path: Path) -> None:
    whole = rows(20).to_csv(index=False).encode()
    file = tmp_path / "cut.csv"
    read = []

    for size in range(len(whole)):
        write_long_ago(file, whole[:size])
        read.append((size, _rows_or_refusal(Csv(file, time="when"))))

    ends = [index + 1 for index, byte in enumerate(whole) if byte == ord("\n")]
    whole_lines = {size: line for line, size in enumerate(ends) if line > 0}
    assert read == [(size, whole_lines.get(size, "refused")) for size in range(len(whole))]


@pytest.mark.fault(71)
@pytest.mark.parametrize("maker", [gzip_source, parquet_source])
def test_a_compressed_or_parquet_file_cut_anywhere_is_refused(maker: Callable[[Path], Source], tmp_path: Path) -> None:
    source = maker(tmp_path)
    file = next(tmp_path.iterdir())
    whole = file.read_bytes()

    for size in random.Random(7).sample(range(len(whole)), 60):
        write_long_ago(file, whole[:size])
        with pytest.raises(SourceFailed):
            source.get_dataframe(None)


@pytest.mark.fault(71)
@pytest.mark.parametrize("name", ["empty.csv", "empty.parquet"])
def test_an_empty_file_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()

    with pytest.raises(SourceFailed):
        (Csv if name.endswith("csv") else Parquet)(tmp_path / name).get_dataframe(None)


@pytest.mark.fault(71)
def test_a_file_with_a_header_and_no_rows_is_refused(tmp_path: Path) -> None:
    rows(0).to_csv(tmp_path / "header.csv", index=False)
    rows(0).to_parquet(tmp_path / "header.parquet")

    with pytest.raises(SourceFailed, match="no rows"):
        Csv(tmp_path / "header.csv").get_dataframe(None)
    with pytest.raises(SourceFailed, match="no rows"):
        Parquet(tmp_path / "header.parquet").get_dataframe(None)


@pytest.mark.fault(71)
def test_a_line_that_is_too_short_or_too_long_is_refused_with_its_number(tmp_path: Path) -> None:
    file = tmp_path / "ragged.csv"

    file.write_text("a,b\n1,2\n3\n4,\n")
    with pytest.raises(SourceFailed, match="line 3 has 1 fields instead of 2"):
        Csv(file).get_dataframe(None)

    file.write_text("a,b\n1,2\n3,4,5\n")
    with pytest.raises(SourceFailed, match="line 3"):
        Csv(file).get_dataframe(None)

    file.write_text("a,b\n1,2,3\n3,4,5\n")
    with pytest.raises(SourceFailed, match="more fields than the header"):
        Csv(file).get_dataframe(None)


@pytest.mark.fault(71)
@pytest.mark.parametrize("maker", [csv_source, gzip_source, parquet_source])
def test_a_file_that_is_rewritten_in_place_is_read_whole_or_refused(
    maker: Callable[[Path], Source], tmp_path: Path
) -> None:
    source = maker(tmp_path)
    file = next(tmp_path.iterdir())
    whole, stop = file.read_bytes(), threading.Event()

    def rewrite() -> None:
        while not stop.is_set():
            with file.open("r+b") as opened:
                opened.truncate(0)
                for start in range(0, len(whole), 1000):
                    opened.write(whole[start : start + 1000])
                    opened.flush()

    writer = threading.Thread(target=rewrite)
    writer.start()
    answers = [_rows_or_refusal(source) for _ in range(60)]
    stop.set()
    writer.join()

    assert "refused" in answers
    assert set(answers) <= {200, "refused"}
    assert _rows_or_refusal(source) == 200


def _rows_or_refusal(source: Source) -> int | str:
    try:
        return len(source.get_dataframe(None))
    except SourceFailed:
        return "refused"


def test_a_file_that_is_replaced_by_a_rename_can_always_be_read(tmp_path: Path) -> None:
    source = csv_source(tmp_path)
    whole, stop = (tmp_path / "data.csv").read_bytes(), threading.Event()

    def replace() -> None:
        while not stop.is_set():
            (tmp_path / "new").write_bytes(whole)
            (tmp_path / "new").replace(tmp_path / "data.csv")

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        answers = {_rows_or_refusal(source) for _ in range(60)}
    finally:
        stop.set()
        writer.join()

    assert answers == {200}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a,a\n1,2\n", "two of its columns are named `a`"),
        ("when,b\n2026-01-01,2\nnoon,3\n", "Row 2 of .* has no time in `when`"),
        ("when,b\n2026-01-01,2\n,3\n", "Row 2 of .* has no time in `when`"),
        ("when,b\n1767225600,2\n", "holds numbers, not times"),
        ("then,b\n2026-01-01,2\n", "no column `when`"),
    ],
)
def test_what_is_wrong_in_a_csv_file_is_said(text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text(text)

    with pytest.raises(SourceFailed, match=problem):
        Csv(tmp_path / "bad.csv", time="when").get_dataframe(None)


def test_text_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes("stadt,b\nZürich,1\n".encode("latin-1"))

    with pytest.raises(SourceFailed, match="utf-8"):
        Csv(tmp_path / "latin.csv").get_dataframe(None)


def test_a_byte_order_mark_and_quoted_line_ends_are_read_as_people_mean_them(tmp_path: Path) -> None:
    (tmp_path / "excel.csv").write_bytes(b'\xef\xbb\xbfa,b\r\n1,"two\r\nlines"\r\n2,\r\n')

    frame = Csv(tmp_path / "excel.csv").get_dataframe(None)

    assert list(frame.columns) == ["a", "b"]
    assert len(frame) == 2


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_parquet_times_of_every_unit_and_zone_are_cut_alike(unit: str, zone: str | None, tmp_path: Path) -> None:
    when = pd.Series(pd.date_range(START.replace(tzinfo=None), periods=100, freq="h")).dt.as_unit(unit)  # type: ignore[arg-type]  # parametrised
    if zone:
        when = when.dt.tz_localize("UTC").dt.tz_convert(zone)
    pd.DataFrame({"when": when, "x": range(100)}).to_parquet(tmp_path / "t.parquet")

    frame = Parquet(tmp_path / "t.parquet", time="when").get_dataframe(START + timedelta(hours=9, microseconds=5))

    assert frame["x"].tolist() == list(range(10))
    assert frame["when"].iloc[-1] == START + timedelta(hours=9)


def test_parquet_rows_without_a_time_are_complained_about_and_not_passed_over(tmp_path: Path) -> None:
    pd.DataFrame({"when": [pd.Timestamp("2026-01-01"), None], "x": [1, 2]}).to_parquet(tmp_path / "t.parquet")

    with pytest.raises(SourceFailed, match=r"Row 2 of .* has no time"):
        Parquet(tmp_path / "t.parquet", time="when").get_dataframe(START)


def test_parquet_times_as_text_dates_categories_and_a_named_index_are_plain_columns(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"day": ["2026-01-01", "2026-01-02"], "kind": pd.Categorical(["b", "a"])}, index=pd.Index([7, 8], name="id")
    )
    frame.to_parquet(tmp_path / "t.parquet")

    read = Parquet(tmp_path / "t.parquet", time="day").get_dataframe(START)

    assert read["id"].tolist() == [7]
    assert str(read["kind"].dtype) == "str"
