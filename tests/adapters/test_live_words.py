"""What `understudy live` and `understudy status` say of labels that compare two versions."""

from datetime import UTC, datetime
from typing import Any

import pytest

from understudy.adapters.commands.live import in_a_line, words

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
STANDING = {
    "block": 4,
    "scale": 0.1,
    "rows": 320,
    "blocks": 80,
    "capital": 1.43218,
    "crossed": None,
    "reason": None,
}


def told(pair: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """What `GET /models/rain/live` says of version 5, which replaced version 4."""
    ours = {
        "position": 90,
        "serving": {"version": "5", "digest": "5" * 64},
        "other": {"version": "4", "digest": "4" * 64},
        "since": "2026-01-31T10:00:00.000000Z",
        "why": "promotion",
        "settled_at": None,
        **(pair or {}),
    }
    losses = {"loss": "brier", "rows": 323, "serving_loss": 0.12, "other_loss": 0.125, "loss_on_holdout": 0.11}
    return {"model": "rain", "pair": ours, **losses, "standing": STANDING, **changes}


def test_a_pair_is_told_with_its_rows_its_losses_and_its_capital() -> None:
    said = " ".join(words(told(), NOON))

    assert "Version 5 of rain serves, and version 4 in shadow, the champion that it replaced, since 2026-01-31" in said
    assert "(2 h ago)" in said
    assert "323. Its loss (brier) on them is 0.12, and on its holdout 0.11; that of the other 0.125." in said
    assert "bets on version 4 has made 1.4322 of 1 in 320 rows (80 blocks of 4); at 20 it takes over" in said
    assert "at most 5 % of comparisons" in said


def test_a_refused_candidate_is_told_as_one() -> None:
    assert (
        "version 6 in shadow, which nothing but the comparison spoke against"
        in words(told({"other": {"version": "6"}, "why": "refusal"}), NOON)[0]
    )


def test_what_labels_have_decided_is_told_with_its_place_in_the_log() -> None:
    decided = told({"settled_at": 120}, standing={**STANDING, "capital": 21.0, "crossed": 288})

    assert words(decided, NOON)[-1] == "After 288 rows labels preferred version 4: see position 120 of the log."
    assert str(in_a_line(decided, NOON)).endswith("capital 21 of 20; decided after 288")


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("promotion", "there is no champion before it"),
        ("return", "it came back by a demotion"),
        ("switch", "the next one begins anew"),
    ],
)
def test_a_champion_that_is_watched_alone_is_told_why(why: str, said: str) -> None:
    alone = told({"other": None, "why": why}, other_loss=None, standing=None)

    assert said in words(alone, NOON)[0]
    assert len(words(alone, NOON)) == 2
    assert in_a_line(alone, NOON) == "rain: version 5 alone, 323 labelled rows since 2026-01-31 10:00:00 UTC (2 h ago)"


@pytest.mark.parametrize(
    ("standing", "said"),
    [
        (None, "no holdout is known on which both answered"),
        ({**STANDING, "block": None, "reason": "The holdout has 30 rows."}, "The holdout has 30 rows."),
    ],
)
def test_a_pair_that_cannot_be_compared_says_why(standing: dict[str, Any] | None, said: str) -> None:
    assert said in words(told(standing=standing), NOON)[-1]
    assert str(in_a_line(told(standing=standing), NOON)).endswith("which cannot be compared")


def test_before_the_first_label_and_before_the_first_promotion_that_is_said() -> None:
    none = told(rows=0, serving_loss=None, other_loss=None, standing=None)

    assert words(none, NOON)[1:] == ["None of its predictions has a label yet that can be judged by."]
    assert str(in_a_line(none, NOON)).endswith("0 labelled rows since 2026-01-31 10:00:00 UTC (2 h ago)")
    assert words({"model": "rain", "pair": None}, NOON) == [
        "Nothing of rain is compared yet: that begins with its first promotion."
    ]
    assert in_a_line({"model": "rain", "pair": None}, NOON) is None


def test_a_model_with_a_pair_has_one_line_of_it() -> None:
    assert in_a_line(told(), NOON) == (
        "rain: version 5 beside 4 in shadow, 323 labelled rows since 2026-01-31 10:00:00 UTC (2 h ago), "
        "capital 1.4322 of 20"
    )
