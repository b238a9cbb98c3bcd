"""A process whose children parse in many threads at once, each for its first time: `python -m tests.racer TIMES`.

It says how many of them ended well.
"""

import os
import sys
import threading
from collections.abc import Callable

from api.tests.given import HOLDOUT, profile
from tests.bundles import by_hand, identity
from understudy.adapters.bundle import unpack
from understudy.errors import BadInput
from understudy.evidence import Evidence
from understudy.fingerprint import digest_of
from understudy.profile import Profile

THREADS = 3
"""For each kind of thing that is parsed."""


def race(deeds: list[Callable[[], object]]) -> None:
    """Do all at once, several times each."""
    sys.setswitchinterval(1e-6)
    together = threading.Barrier(THREADS * len(deeds))

    def run(deed: Callable[[], object]) -> None:
        together.wait()
        deed()

    threads = [threading.Thread(target=run, args=(deed,)) for deed in deeds * THREADS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def no_evidence() -> None:
    try:
        Evidence.parse(b'{"format": 1}')
    except BadInput:
        return


def main(times: str) -> None:
    bundle, measured = by_hand({"model.onnx": identity()}), profile(HOLDOUT)
    ended = []
    for _ in range(int(times)):
        child = os.fork()
        if child == 0:
            race([lambda: unpack(bundle, digest=digest_of(bundle)), lambda: Profile.parse(measured), no_evidence])
            os._exit(0)
        ended.append(os.waitpid(child, 0)[1])
    sys.stdout.write(f"{ended.count(0)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
