"""What a process parses for its first time, it may parse in many threads at once: a start loads several models."""

import subprocess
import sys

CHILDREN = 40


def test_threads_that_are_the_first_to_parse_a_bundle_a_profile_or_evidence_do_not_crash() -> None:
    """Where decoders were made with the first parsing, one child in six died of it."""
    ended = subprocess.run([sys.executable, "-m", "tests.racer", str(CHILDREN)], check=True, capture_output=True)

    assert int(ended.stdout) == CHILDREN
