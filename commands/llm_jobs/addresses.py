"""Where a job stands: what commands about it seal under and need loaded; and words that come from outside."""

import re
from typing import Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel

from commands.work import UnitOfWork
from domain.errors import Refused
from domain.ids import budget_ids
from domain.llm_jobs import LlmJob
from domain.values import Code, Slug

_BLANKS = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029]+")
LONGEST_DETAIL = 2_000


def one_line(text: str) -> str:
    """A readable line of at most 200 characters: what a provider says must never keep an outcome from the log."""
    return _BLANKS.sub(" ", _encodable(text)).strip()[:200].strip() or "not said"


def detail(text: str) -> str:
    """As much of it as is kept, in a form that can be: what an adapter says must not keep an outcome from the log."""
    return _encodable(text).replace("\0", " ").strip()[:LONGEST_DETAIL]


def _encodable(text: str) -> str:
    return text.encode(errors="replace").decode()


OneLine = Annotated[str, AfterValidator(one_line)]
Detail = Annotated[str, AfterValidator(detail)]


class OfJob(BaseModel):
    """A command about one job. Phase and agent only save a second read under the lock; the project must be right."""

    job_id: UUID
    project_id: UUID | None = None
    phase: Slug | None = None
    agent_id: UUID | None = None

    def streams(self) -> tuple[UUID, ...]:
        """The job, those that it belongs to, and every budget that may pay."""
        known = filter(None, (self.job_id, self.project_id, self.agent_id))
        return (*known, *budget_ids(self.project_id, self.phase, self.agent_id))

    def job(self, work: UnitOfWork) -> LlmJob:
        """The job, when its text is sealed under the right key."""
        job = work.get(LlmJob, self.job_id)
        if job.project_id != self.project_id:
            raise Refused(f"this job belongs to project {job.project_id}: name that project", code="wrong_project")
        return job


class Failing(OfJob):
    """A command about a failure. What providers and templates say of it may repeat a prompt: it is only kept sealed."""

    kind: Code
    detail: Detail | None = None

    def sealed_under(self) -> UUID | None:
        """The project's key, or the job's own."""
        return (self.project_id or self.job_id) if self.detail else None

    def without_text(self) -> Self | None:
        """A failure must be known, also where nothing can be sealed any more."""
        return self.model_copy(update={"detail": None}) if self.detail else None

    def note(self, work: UnitOfWork) -> str | None:
        """The detail as the log keeps it."""
        return work.seal(self.detail) if self.detail else None
