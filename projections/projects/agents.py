"""The part of a project's overview that its agents, their jobs, reviews and costs write."""

from decimal import Decimal

from domain.agents import Agent
from domain.checkpoints import Asset, Checkpoint
from domain.costs import Cost
from domain.ids import attempt_id
from domain.kernel import Event
from domain.llm_jobs import JobStatus, LlmJob
from domain.log import StoredEvent
from projections.documents import Document
from projections.projector import on
from projections.projects.changes import (
    agent_at_work,
    agent_named,
    agents_of,
    no_longer_held,
    no_longer_waiting,
    waiting_also,
    with_agent,
)
from projections.projects.views import (
    AssetLine,
    AwaitedLine,
    Failure,
    JobLine,
    ProjectOverview,
    WaitsForBudget,
    WaitsForRetry,
    WaitsForReview,
)

LOST = "lost"
"""The kind of failure that leaves the cost of the last attempt open: its worker fell silent."""
FRESH = {
    "attempt": 0,
    "percentage": None,
    "waiting_for": (),
    "asset": None,
    "failure": None,
    "skipped_because": None,
    "retry_at": None,
    "job": None,
}
"""What a run begins with."""
STILL = {"waiting_for": (), "retry_at": None}
"""What an agent has that waits for nothing."""


class OverviewOfAgents(Document[ProjectOverview]):
    """Folds of the events that happen to a project's agents; every view that arrives here exists."""

    # --- agents ---

    @on(Agent.Defined, Agent.Configured, Agent.Redefined)
    def defined(self, view: ProjectOverview, event: Agent.Defined, stored: StoredEvent) -> ProjectOverview:
        """What it is for."""
        return with_agent(view, stored.stream_id, role=event.role, on_failure=event.on_failure)

    @on(Agent.Ready)
    def ready(self, view: ProjectOverview, event: Agent.Ready, stored: StoredEvent) -> ProjectOverview:
        """Everything that it depends on is there."""
        return with_agent(view, stored.stream_id, status="ready", run=event.run)

    @on(Agent.Started)
    def attempt_started(self, view: ProjectOverview, event: Agent.Started, stored: StoredEvent) -> ProjectOverview:
        """An attempt and its job."""
        changes = {**FRESH, "run": event.run, "attempt": event.attempt, "status": "running"}
        job = JobLine(id=event.job_id, status="queued")
        return with_agent(no_longer_waiting(view, stored.stream_id), stored.stream_id, **(changes | {"job": job}))

    @on(Agent.Progressed)
    def progressed(self, view: ProjectOverview, event: Agent.Progressed, stored: StoredEvent) -> ProjectOverview:
        """How far it is."""
        return with_agent(view, stored.stream_id, percentage=event.percentage)

    @on(Agent.Waiting)
    def held_back(self, view: ProjectOverview, event: Agent.Waiting, stored: StoredEvent) -> ProjectOverview:
        """Its result does not count yet."""
        waits = tuple(AwaitedLine(kind=each.kind, id=each.id, name=each.name) for each in event.waiting_for)
        return with_agent(
            view, stored.stream_id, status="waiting", waiting_for=waits, asset=_asset(view, event), percentage=None
        )

    @on(Agent.Completed)
    def agent_completed(self, view: ProjectOverview, event: Agent.Completed, stored: StoredEvent) -> ProjectOverview:
        """Its result counts."""
        return with_agent(
            no_longer_waiting(view, stored.stream_id),
            stored.stream_id,
            **(STILL | {"status": "completed", "asset": _asset(view, event), "percentage": None}),
        )

    @on(Agent.RetryScheduled)
    def retry_scheduled(
        self, view: ProjectOverview, event: Agent.RetryScheduled, stored: StoredEvent
    ) -> ProjectOverview:
        """It failed and tries again."""
        failure = Failure(code=event.code, reason=event.reason)
        after = with_agent(view, stored.stream_id, status="waiting", retry_at=event.due_at, failure=failure)
        retry = WaitsForRetry(
            job_id=None,
            agent_id=stored.stream_id,
            agent=agent_named(view, stored.stream_id),
            attempt=event.attempt,
            due_at=event.due_at,
            code=event.code,
            reason=event.reason,
            since=stored.recorded_at,
        )
        return waiting_also(after, retry)

    @on(Agent.Failed)
    def agent_failed(self, view: ProjectOverview, event: Agent.Failed, stored: StoredEvent) -> ProjectOverview:
        """Its run has no result."""
        failure = Failure(code=event.code, reason=event.reason)
        after = no_longer_waiting(view, stored.stream_id)
        return with_agent(after, stored.stream_id, **(STILL | {"status": "failed", "failure": failure}))

    @on(Agent.Cancelled)
    def agent_cancelled(self, view: ProjectOverview, event: Agent.Cancelled, stored: StoredEvent) -> ProjectOverview:
        """It was stopped."""
        failure = Failure(code=event.reason, reason="cancelled")
        after = no_longer_waiting(view, stored.stream_id)
        return with_agent(after, stored.stream_id, **(STILL | {"status": "cancelled", "failure": failure}))

    @on(Agent.Skipped)
    def skipped(self, view: ProjectOverview, event: Agent.Skipped, stored: StoredEvent) -> ProjectOverview:
        """It was passed over."""
        return with_agent(view, stored.stream_id, status="skipped", skipped_because=event.because)

    @on(Agent.Reset)
    def agent_reset(self, view: ProjectOverview, event: Agent.Reset, stored: StoredEvent) -> ProjectOverview:
        """It will run again."""
        after = no_longer_waiting(view, stored.stream_id)
        return with_agent(after, stored.stream_id, **(FRESH | {"status": "defined", "run": event.run}))

    # --- their jobs ---

    @on(LlmJob.Admitted)
    def admitted(self, view: ProjectOverview, event: LlmJob.Admitted, _stored: StoredEvent) -> ProjectOverview:
        """What budgets hold for it; nothing where none limits it."""
        return view.but(holds=view.holds | {event.attempt_id: event.bound}) if event.holds else view

    @on(LlmJob.Started)
    def job_started(self, view: ProjectOverview, _event: LlmJob.Started, stored: StoredEvent) -> ProjectOverview:
        """It was sent."""
        return _with_job(view, stored, "running")

    @on(LlmJob.Parked)
    def parked(self, view: ProjectOverview, event: LlmJob.Parked, stored: StoredEvent) -> ProjectOverview:
        """A limit is in its way."""
        agent = agent_at_work(view, stored.stream_id)
        wait = WaitsForBudget(
            job_id=stored.stream_id,
            agent_id=agent.id if agent else None,
            agent=agent.name if agent else None,
            budget_id=event.budget_id,
            scope=event.scope,
            name=event.name,
            unit=event.unit,
            limit=event.limit,
            settled=event.settled,
            held=event.held,
            requested=event.requested,
            retry_at=event.retry_at,
            since=stored.recorded_at,
        )
        return waiting_also(_with_job(view, stored, "parked"), wait)

    @on(LlmJob.Resumed)
    def job_resumed(self, view: ProjectOverview, _event: LlmJob.Resumed, stored: StoredEvent) -> ProjectOverview:
        """It is back in the queue."""
        return _with_job(no_longer_waiting(view, stored.stream_id), stored, "queued")

    @on(LlmJob.AttemptLost)
    def attempt_lost(self, view: ProjectOverview, _event: LlmJob.AttemptLost, stored: StoredEvent) -> ProjectOverview:
        """It is back in the queue; what the lost attempt may cost stays held."""
        return _with_job(view, stored, "queued")

    @on(LlmJob.RetryScheduled)
    def job_retries(self, view: ProjectOverview, event: LlmJob.RetryScheduled, stored: StoredEvent) -> ProjectOverview:
        """Its call failed in a way that may pass."""
        agent = agent_at_work(view, stored.stream_id)
        retry = WaitsForRetry(
            job_id=stored.stream_id,
            agent_id=agent.id if agent else None,
            agent=agent.name if agent else None,
            attempt=event.attempt,
            due_at=event.due_at,
            code=event.kind,
            reason=event.reason,
            since=stored.recorded_at,
        )
        after = no_longer_held(view, attempt_id(stored.stream_id, event.attempt))
        return waiting_also(_with_job(after, stored, "retrying"), retry)

    @on(LlmJob.Rerouted)
    def job_rerouted(self, view: ProjectOverview, event: LlmJob.Rerouted, stored: StoredEvent) -> ProjectOverview:
        """It goes on to another target at once."""
        return _with_job(no_longer_held(view, attempt_id(stored.stream_id, event.attempt)), stored, "queued")

    @on(LlmJob.Completed)
    def job_completed(self, view: ProjectOverview, event: LlmJob.Completed, stored: StoredEvent) -> ProjectOverview:
        """The model answered."""
        return _with_job(no_longer_held(view, event.attempt_id), stored, "completed")

    @on(LlmJob.Failed)
    def job_failed(self, view: ProjectOverview, event: LlmJob.Failed, stored: StoredEvent) -> ProjectOverview:
        """There is no answer."""
        if event.kind != LOST:
            view = no_longer_held(view, attempt_id(stored.stream_id, event.attempt))
        return _with_job(no_longer_waiting(view, stored.stream_id), stored, "failed")

    @on(LlmJob.Cancelled)
    def job_cancelled(self, view: ProjectOverview, _event: LlmJob.Cancelled, stored: StoredEvent) -> ProjectOverview:
        """Nobody wants the answer; what a call in flight costs is still open."""
        return _with_job(no_longer_waiting(view, stored.stream_id), stored, "cancelled")

    @on(LlmJob.LateUsage)
    def late_usage(self, view: ProjectOverview, event: LlmJob.LateUsage, _stored: StoredEvent) -> ProjectOverview:
        """What a lost attempt cost is known."""
        return no_longer_held(view, event.attempt_id)

    # --- reviews, results, costs ---

    @on(Checkpoint.Requested)
    def review_requested(
        self, view: ProjectOverview, event: Checkpoint.Requested, stored: StoredEvent
    ) -> ProjectOverview:
        """Somebody has to decide."""
        review = WaitsForReview(
            checkpoint_id=stored.stream_id,
            agent_id=event.agent_id,
            agent=event.agent_name,
            title=event.title,
            due_at=event.due_at,
            since=stored.recorded_at,
        )
        return waiting_also(view, review)

    @on(Checkpoint.Resolved, Checkpoint.Expired, Checkpoint.Withdrawn)
    def review_over(self, view: ProjectOverview, _event: Event, stored: StoredEvent) -> ProjectOverview:
        """Nobody has to decide any more."""
        return no_longer_waiting(view, stored.stream_id)

    @on(Asset.Created)
    def asset_created(self, view: ProjectOverview, event: Asset.Created, stored: StoredEvent) -> ProjectOverview:
        """The name that its versions are shown by."""
        after = view.but(asset_names=view.asset_names | {stored.stream_id: event.name})
        for agent in agents_of(view):
            if agent.asset and agent.asset.id == stored.stream_id:
                after = with_agent(after, agent.id, asset=agent.asset.but(name=event.name))
        return after

    @on(Cost.Recorded)
    def cost_recorded(self, view: ProjectOverview, event: Cost.Recorded, _stored: StoredEvent) -> ProjectOverview:
        """What an attempt cost, and that nothing is held for it any more."""
        return _spent(no_longer_held(view, event.attempt_id), event, event.amount)

    @on(Cost.Corrected)
    def cost_corrected(self, view: ProjectOverview, event: Cost.Corrected, _stored: StoredEvent) -> ProjectOverview:
        """An estimate was wrong."""
        return _spent(view, event, event.amount - event.previous)

    @on(Cost.ReRated)
    def cost_re_rated(self, view: ProjectOverview, event: Cost.ReRated, _stored: StoredEvent) -> ProjectOverview:
        """A price was wrong."""
        return _spent(view, event, event.amount - event.previous)


def _asset(view: ProjectOverview, event: Agent.Waiting | Agent.Completed) -> AssetLine | None:
    if event.asset_id is None or event.asset_version is None or event.digest is None:
        return None
    name = view.asset_names.get(event.asset_id)
    return AssetLine(id=event.asset_id, version=event.asset_version, digest=event.digest, name=name)


def _with_job(view: ProjectOverview, stored: StoredEvent, status: JobStatus) -> ProjectOverview:
    agent = agent_at_work(view, stored.stream_id)
    return with_agent(view, agent.id, job=JobLine(id=stored.stream_id, status=status)) if agent else view


def _spent(
    view: ProjectOverview, event: Cost.Recorded | Cost.Corrected | Cost.ReRated, amount: Decimal
) -> ProjectOverview:
    after = view.but(spent=view.spent + amount)
    agent = next((each for each in agents_of(view) if each.id == event.agent_id), None)
    return with_agent(after, agent.id, spent=agent.spent + amount) if agent else after
