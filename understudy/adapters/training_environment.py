"""The environment in which a training gives the same bytes again: one thread, no hash seed, none of our settings."""

import os
from collections.abc import Mapping
from pathlib import Path

import understudy
from understudy.settings import PREFIX

PROJECT = Path(understudy.__file__).parents[1]

#: Sums depend on the order in which threads add; and one core is what a run should take.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")


def training_environment(inherited: Mapping[str, str], *, home: Path, scratch: Path) -> dict[str, str]:
    """The variables of a process that trains.

    It keeps what it inherits, since a source may need its own credentials, but none of our settings: no token is among
    what it is given.
    """
    kept = {name: value for name, value in inherited.items() if not name.upper().startswith(PREFIX)}
    path = os.pathsep.join(filter(None, [str(PROJECT), inherited.get("PYTHONPATH")]))
    ours = {"PYTHONPATH": path, "PYTHONHASHSEED": "0", "TMPDIR": str(scratch), f"{PREFIX}HOME": str(home.absolute())}
    return {**kept, **ONE_THREAD, **ours}
