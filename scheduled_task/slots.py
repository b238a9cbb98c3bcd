"""A model's schedule as a trigger of APScheduler."""

from datetime import datetime

from apscheduler.triggers.base import BaseTrigger

from understudy.schedule import Schedule


class SlotTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler ships no types
    """Fires at each nominal time of a schedule.

    It looks forward from now and never back: what was missed is found from the log, and is one run and not many.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """None, at which APScheduler drops the job, where the schedule has no nominal times."""
        return self.schedule.next_after(now)

    def __str__(self) -> str:
        return str(self.schedule)
