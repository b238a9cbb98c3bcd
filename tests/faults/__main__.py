"""`python -m tests.faults --seed 1 --kills 300 --workers 3 --schedulers 2`: one campaign, told line by line.

A seed reproduces a failure, as far as chance allows: round N is the same whatever went before, so `--from-kill N` goes
on where a campaign was stopped, or begins just before what it found.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.faults.campaign import Campaign
from tests.faults.report import Plan


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=(__doc__ or "").partition("\n")[2])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--from-kill", type=int, default=0, metavar="N")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--schedulers", type=int, default=1)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work there, and leave everything there")
    asked = parser.parse_args()
    plan = Plan(
        seed=asked.seed,
        kills=asked.kills,
        first=asked.from_kill,
        workers=asked.workers,
        schedulers=asked.schedulers,
    )
    if asked.keep is not None:
        return campaign(asked.keep / "home", plan)
    with tempfile.TemporaryDirectory(prefix="understudy-faults-", ignore_cleanup_errors=True) as folder:
        return campaign(Path(folder) / "home", plan)


def campaign(home: Path, plan: Plan) -> int:
    """0 where every promise was kept."""
    report = Campaign(home, plan, say).run()
    for line in report.lines():
        say(line)
    return 1 if report.broken else 0


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
