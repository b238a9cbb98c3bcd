"""Labels as `understudy feedback` reads them from a file."""

from pathlib import Path

import pytest

from understudy.adapters.commands.feedback import COUNTS, add, read
from understudy.errors import BadInput


def test_a_csv_file_holds_numbers_truths_and_texts(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text(
        'prediction_id,key,model,label\na/0,,,1\n,12,rain,0.5\n,A-7,rain,yes\nb/1,,rain,true\n"c/0",,,"no, ""no"""\n'
    )

    assert read(file) == [
        {"prediction_id": "a/0", "label": 1},
        {"key": 12, "model": "rain", "label": 0.5},
        {"key": "A-7", "model": "rain", "label": "yes"},
        {"prediction_id": "b/1", "model": "rain", "label": True},
        {"prediction_id": "c/0", "label": 'no, "no"'},
    ]


def test_a_file_of_json_lines_is_taken_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    file.write_text('{"prediction_id": "a/0", "label": "1"}\n{"key": 7, "model": "rain", "label": null}\n')

    assert read(file) == [{"prediction_id": "a/0", "label": "1"}, {"key": 7, "model": "rain", "label": None}]


@pytest.mark.parametrize(
    ("name", "text"), [("a.csv", "label\n1,2\n"), ("a.csv", 'label\n"1\n'), ("a.jsonl", "[1]\n"), ("a.jsonl", "{\n")]
)
def test_a_file_that_is_neither_is_refused_with_what_to_write(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)

    with pytest.raises(BadInput, match="Write `prediction_id,label`"):
        read(tmp_path / name)


def test_a_misnamed_column_of_a_csv_is_told_as_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prediction,label,\na/0,1,\n")

    with pytest.raises(BadInput, match=r"CSV has a column 'prediction'.*Name the columns `prediction_id`"):
        read(tmp_path / "a.csv")


def test_refusals_of_a_later_part_are_counted_from_the_beginning_of_the_file() -> None:
    total = {**dict.fromkeys(COUNTS, 1), "refused": []}

    add(total, {**dict.fromkeys(COUNTS, 2), "refused": [{"index": 3, "detail": "no"}]}, 5_000)

    assert total == {**dict.fromkeys(COUNTS, 3), "refused": [{"index": 5_003, "detail": "no"}]}
