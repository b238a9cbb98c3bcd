"""A process that appends: `python -m tests.appender ADDRESS NAME APPENDS EVENTS_EACH`.

One line of its output answers one append: the position of its last event, or the name of the error. Each line is one
write, so a process that is killed has acknowledged exactly what its output says.
"""

import os
import sys

from tests.given import fact, open_log
from understudy.errors import UnderstudyError


def main(address: str, name: str, appends: str, events_each: str) -> None:
    log = open_log(address)
    for number in range(int(appends)):
        events = [fact(f"{name}/{number}/{part}") for part in range(int(events_each))]
        try:
            answer = str(log.append(*events)[-1].position)
        except UnderstudyError as error:
            answer = type(error).__name__
        os.write(1, f"{answer}\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
