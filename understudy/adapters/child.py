"""How a child process of ours is started: without a shell, without the parent's environment, on one thread."""

import os
import sys
from pathlib import Path

import understudy


def command(module: str) -> list[str]:
    """Run `module` with our interpreter; the current folder is nowhere that code is imported from."""
    return [sys.executable, "-P", "-m", module]


def environment() -> dict[str, str]:
    """Nothing but what a child needs to find us. Sets come in one order, and BLAS and OpenMP use one thread."""
    return {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": str(Path(understudy.__file__).parent.parent),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
