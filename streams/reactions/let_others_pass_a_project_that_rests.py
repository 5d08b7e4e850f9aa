"""When a project stops running, room in the common budget that its queued jobs were to take goes to others."""

from collections.abc import Iterable

from commands.handling import Command
from commands.llm_jobs import ResumeParkedJobs
from domain.ids import Scope, budget_id
from domain.kernel import Event
from domain.log import StoredEvent
from domain.projects import Project
from streams.reacting import reaction

EVERYTHING = budget_id(Scope(kind="global"))


@reaction(Project.Paused, Project.Completed, Project.Failed, Project.Cancelled)
def let_others_pass_a_project_that_rests(_happened: Event, _stored: StoredEvent) -> Iterable[Command]:
    """The project's own budgets pay for nobody else."""
    yield ResumeParkedJobs(budget_id=EVERYTHING)
