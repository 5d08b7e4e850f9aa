"""Where a job stands: what commands about it seal under and need loaded, said before the job itself is read."""

import re
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel

from commands.work import UnitOfWork
from domain.errors import Refused
from domain.ids import budget_id, scopes_of
from domain.llm_jobs import LlmJob
from domain.values import Name

_BLANKS = re.compile(r"[\x00-\x20\x7f]+")


def one_line(text: str) -> str:
    """A readable line of at most 200 characters: what a provider says must never keep an outcome from the log."""
    return _BLANKS.sub(" ", text).strip()[:200].strip() or "not said"


OneLine = Annotated[str, AfterValidator(one_line)]


class OfJob(BaseModel):
    """A command about one job. Phase and agent only save a second read under the lock; the project must be right."""

    job_id: UUID
    project_id: UUID | None = None
    phase: Name | None = None
    agent_id: UUID | None = None

    def streams(self) -> tuple[UUID, ...]:
        """The job, those that it belongs to, and every budget that may pay."""
        scopes = scopes_of(self.project_id, self.phase, self.agent_id)
        known = filter(None, (self.job_id, self.project_id, self.agent_id))
        return (*known, *(budget_id(scope) for scope in scopes))

    def job(self, work: UnitOfWork) -> LlmJob:
        """The job, when its text is sealed under the right key."""
        job = work.get(LlmJob, self.job_id)
        if job.project_id != self.project_id:
            raise Refused(f"this job belongs to project {job.project_id}: name that project", code="wrong_project")
        return job
