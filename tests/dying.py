"""A process that is killed in the middle of a call: `python -m tests.dying FOLDER`."""

import os
import signal
import sys
from pathlib import Path

from api.breaker import Breakers
from api.mark import Marks

if __name__ == "__main__":
    breaker = Breakers(Marks(Path(sys.argv[1]), "vm/1")).of("rain", "3")
    breaker.enter()
    os.kill(os.getpid(), signal.SIGKILL)
