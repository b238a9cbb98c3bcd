"""What a process of ours can give up for good: opening any file but the libraries' to read, and any at all to write.

This is Landlock, which Linux has since 5.13; any process may ask for it, and a container's too. How much it covers
depends on the version of its interface:

- 1: opening files and listing folders, making, removing and renaming them, and starting programs; from 2 on also
  moving files between folders, from 3 on cutting them short;
- 4 (Linux 6.7): TCP, to connect and to bind; 5: ioctl on devices;
- 6 (Linux 6.12): signals to processes outside, and abstract Unix sockets.

What stays open in every one: UDP, Unix sockets that have a path, stat, chmod, chown and utime where the user may,
and whatever was opened before. Only the thread that asks is confined, and those that it starts later.
"""

import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import understudy

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
ASK_VERSION = 1
PATH_BENEATH = 1
NO_NEW_PRIVILEGES = 38

READ_FILE, READ_FOLDER = 1 << 2, 1 << 3
FILES = {1: 13, 2: 14, 3: 15, 4: 15}
"""Version of the interface -> how many kinds of access to files it knows; 16 since version 5."""
TCP, OTHER_PROCESSES = 0b11, 0b11

SYSTEM = (
    "/usr",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system",
    "/dev/null",
    "/dev/urandom",
)
"""What libraries read besides themselves."""


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("access", ctypes.c_uint64), ("folder", ctypes.c_int32))


def confine() -> int:
    """Give up what the system knows how to; the version of Landlock's interface, 0 where nothing was given up."""
    if sys.platform != "linux":
        return 0
    system = ctypes.CDLL(None, use_errno=True)
    version = system.syscall(CREATE_RULESET, None, 0, ASK_VERSION)
    if version < 1:
        return 0
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "another thread would stay free"
    given_up = _Ruleset(
        files=(1 << FILES.get(version, 16)) - 1,
        network=TCP if version >= 4 else 0,
        scoped=OTHER_PROCESSES if version >= 6 else 0,
    )
    size = {1: 8, 2: 8, 3: 8, 4: 16, 5: 16}.get(version, 24)
    rules = system.syscall(CREATE_RULESET, ctypes.byref(given_up), size, 0)
    if rules < 0:
        return 0
    try:
        for path in readable():
            _allow(system, rules, path)
        system.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        return int(version) if system.syscall(RESTRICT_SELF, rules, 0) == 0 else 0
    finally:
        os.close(rules)


def readable() -> Iterable[str]:
    """Where code comes from: the interpreter, the packages, and of a folder of our own the package alone."""
    package = Path(understudy.__file__).parent
    installed = any(package.parent.glob("*.dist-info"))  # then numpy may lie beside us: --user, --target
    ours = {Path()} if installed else {package.parent, Path()}
    places = {Path(place) for place in (sys.prefix, sys.base_prefix, *sys.path) if place}
    return [str(package), *sorted(map(str, places - ours)), *SYSTEM]


def _allow(system: ctypes.CDLL, rules: int, path: str) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # not every system has every folder
    try:
        access = READ_FILE | READ_FOLDER if Path(path).is_dir() else READ_FILE
        beneath = _Beneath(access, opened)
        system.syscall(ADD_RULE, rules, PATH_BENEATH, ctypes.byref(beneath), 0)
    finally:
        os.close(opened)
