"""When a budget gets room while jobs wait for it, they are resumed, so many at a time."""

from collections.abc import Iterable

from commands.handling import Command
from commands.llm_jobs import ResumeParkedJobs
from domain.budgets import Budget
from domain.kernel import Event
from domain.log import StoredEvent
from streams.reacting import reaction

GIVES_ROOM = (
    Budget.LimitChanged,
    Budget.Settled,
    Budget.Released,
    Budget.HoldExpired,
    Budget.Adjusted,
    Budget.Rebooked,
    Budget.LimitRemoved,
    Budget.WindowRolled,
    Budget.Closed,
)


@reaction(*GIVES_ROOM, Budget.JobUnparked)
def resume_parked_jobs(happened: Event, stored: StoredEvent) -> Iterable[Command]:
    """Nothing to do where nobody waits: most settlements end here."""
    if isinstance(happened, GIVES_ROOM):
        wakes = happened.waiting > 0
    else:
        at_once = isinstance(happened, Budget.JobUnparked) and happened.rolls_at
        wakes = bool(at_once and at_once <= stored.recorded_at)
    if wakes:
        yield ResumeParkedJobs(budget_id=stored.stream_id)
