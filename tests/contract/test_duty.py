"""One of several processes has the duty, for as long as it lives; a block alone is left before the next one enters."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from understudy.adapters.duty import Duty

HOLDER = """
import sys
from pathlib import Path
from understudy.adapters.duty import Duty
duty = Duty(Path(sys.argv[1]))
print(duty.is_mine(), flush=True)
sys.stdin.read()
"""


def holder(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_whoever_asks_first_has_the_duty_and_keeps_it(tmp_path: Path) -> None:
    with closing(Duty(tmp_path / "duty.lock")) as duty, closing(Duty(tmp_path / "duty.lock")) as another:
        assert [duty.is_mine(), another.is_mine(), duty.is_mine()] == [True, False, True]


def test_the_duty_of_a_process_that_dies_is_free_at_once(tmp_path: Path) -> None:
    with closing(Duty(tmp_path / "duty.lock")) as duty, holder(tmp_path / "duty.lock") as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        assert not duty.is_mine()

        other.kill()
        other.wait()

        assert duty.is_mine()


def test_nobody_is_alone_beside_another(tmp_path: Path) -> None:
    """Eight threads with two locks of their own, as two processes have them."""
    inside, most = 0, 0

    def enter(duty: Duty) -> None:
        nonlocal inside, most
        with duty.alone():
            inside += 1
            most = max(most, inside)
            time.sleep(0.001)
            inside -= 1

    path = tmp_path / "a.lock"
    with closing(Duty(path)) as one, closing(Duty(path)) as other, ThreadPoolExecutor(8) as pool:
        list(pool.map(enter, [one, other] * 50))

    assert most == 1
