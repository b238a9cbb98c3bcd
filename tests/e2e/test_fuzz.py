"""A hundred thousand requests that nobody has thought of, to both paths: `make faults` runs them and prints a tally."""

import time
from pathlib import Path

import pytest

from tests.wire.fuzzing import STAGES, Campaign, tried
from tests.wire.pair import memory_mb, pair, stocked
from tests.wire.player import LARGEST_ERROR

#: What is tried, and over how many connections; each carries up to sixteen requests, and each is tried twice.
LONG = {"rows": 7200, "bytes": 16_800, "schema": 480, "schema, as an operator": 120}
REQUESTS = 100_000
GROWTH_MB = 100


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_nothing_that_is_sent_breaks_either_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No answer in the 5xx, none that is another's or a second one, small errors, and no memory that is kept."""
    with pair(stocked(tmp_path / "stock")) as both:
        campaign, before, began_s = Campaign(both), [memory_mb(one) for one in both.both], time.monotonic()
        for what, examples in LONG.items():
            tried(STAGES[what](both), examples, campaign)
        after, tally = [memory_mb(one) for one in both.both], campaign.tally
        with capsys.disabled():
            took_s, statuses = time.monotonic() - began_s, dict(sorted(tally.statuses.items()))
            report = [
                f"{tally.requests:,} answers in {took_s:.0f} s: {statuses}",
                f"{tally.compared:,} connections compared; largest error {tally.largest_error} bytes",
                f"resident memory, MB, fast and plain: {before} before, {after} after",
            ]
            print("\n".join(["", *report]))  # noqa: T201 - what the campaign is run for

    assert tally.requests >= REQUESTS
    assert max(tally.statuses) < 500
    assert tally.largest_error <= LARGEST_ERROR
    assert max(end - start for start, end in zip(before, after, strict=True)) <= GROWTH_MB
