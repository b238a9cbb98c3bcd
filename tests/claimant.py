"""A scheduler of one claim: `python -m tests.claimant` takes one run, works on it, and ends.

It is all of a scheduler that touches a run, without what asks for slots; so its system calls can be counted.
"""

import os
from threading import Event
from typing import Any

from scheduled_task.worker import Worker
from understudy.adapters.api_client import ApiClient, token_of
from understudy.settings import read_settings


class Once(ApiClient):
    """Says when the run has been ended."""

    ended = Event()

    def post(self, path: str, body: Any, **how: Any) -> Any:
        answer = super().post(path, body, **how)
        if path.endswith("/finish"):
            self.ended.set()
        return answer


def main() -> None:
    settings = read_settings(os.environ)
    worker = Worker(settings, lambda **how: Once(settings.api_url, token_of("scheduler", settings), **how))
    worker.start()
    Once.ended.wait(300)
    worker.stop()
    worker.join(30)


if __name__ == "__main__":
    main()
