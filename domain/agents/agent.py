"""The agent aggregate: defined, made ready, run in attempts, held back for review, ended, reset."""

from datetime import datetime
from typing import Self
from uuid import UUID

from domain.agents.definition import AgentStatus, AssetRef, Awaited, Defining, Definition, OnFailure
from domain.agents.retries import PERMANENT, backoff
from domain.agents.standing import Standing
from domain.errors import Conflict
from domain.ids import job_id
from domain.kernel import Aggregate, Created, event
from domain.values import Code, Digest, Instant, Name, Sealed, Slug


class Agent(Standing, Aggregate):
    """A worker of a project, or a definition in the library that projects copy."""

    TOPIC = "agent"
    FOLD = 2

    class Defined(Defining, Created, type="agent.defined"):
        """An agent was defined, in a project or in the library."""

        project_id: UUID | None
        name: Slug
        phase: Slug | None

    class Configured(Defining, Aggregate.Event, type="agent.configured"):
        """An agent's definition was changed; this is the new one, whole."""

    class Redefined(Defining, Aggregate.Event, type="agent.redefined"):
        """The name of a removed agent was given to a new definition."""

        phase: Slug | None

    class Ready(Aggregate.Event, type="agent.ready"):
        """Everything that the agent depends on is there: it can run."""

        run: int

    class Started(Aggregate.Event, type="agent.started"):
        """An attempt began; its LLM job is queued."""

        run: int
        attempt: int
        job_id: UUID
        feedback: Sealed | None

    class Waiting(Aggregate.Event, type="agent.waiting"):
        """The agent cannot go on before something else happens; the result so far is held back."""

        run: int
        attempt: int
        waiting_for: list[Awaited]
        asset_id: UUID | None
        asset_version: int | None
        digest: Digest | None

    class Progressed(Aggregate.Event, type="agent.progressed"):
        """The agent came further."""

        run: int
        attempt: int
        percentage: int

    class Completed(Aggregate.Event, type="agent.completed"):
        """The agent's result is there and counts."""

        run: int
        attempt: int
        asset_id: UUID
        asset_version: int
        digest: Digest

    class Failed(Aggregate.Event, type="agent.failed"):
        """The agent's run ended without a result that counts; `on_failure` says what that means for its dependents."""

        run: int
        attempt: int
        code: Code
        reason: Name
        on_failure: OnFailure

    class RetryScheduled(Aggregate.Event, type="agent.retry_scheduled"):
        """An attempt failed; `attempt` is the next one, to be made at `due_at`."""

        run: int
        attempt: int
        due_at: Instant
        code: Code
        reason: Name

    class Skipped(Aggregate.Event, type="agent.skipped"):
        """The agent was passed over, because an agent that it depends on failed."""

        run: int
        because: Slug

    class Reset(Aggregate.Event, type="agent.reset"):
        """The agent will run again, as run `run`; `job_id` is the job that was in flight, if one was."""

        run: int
        job_id: UUID | None

    class Cancelled(Aggregate.Event, type="agent.cancelled"):
        """The agent was stopped; `job_id` is the job that was in flight, if one was."""

        run: int
        attempt: int
        reason: Code
        note: Sealed | None
        job_id: UUID | None
        on_failure: OnFailure

    class Recovered(Aggregate.Event, type="agent.recovered"):
        """The worker of the agent's job was lost; the job goes on elsewhere."""

        run: int
        attempt: int
        job_id: UUID
        job_attempt: int

    class Removed(Aggregate.Event, type="agent.removed"):
        """The agent's definition was taken away; its history stays."""

    # --- decisions: definition ---

    @classmethod
    def define(cls, id: UUID, project_id: UUID | None, name: str, phase: str | None, definition: Definition) -> Self:
        """A new agent."""
        return cls._create(cls.Defined, id=id, project_id=project_id, name=name, phase=phase, **dict(definition))

    def configure(self, definition: Definition) -> None:
        """Change the definition; refused while an attempt runs, which must end as it was started."""
        self.refuse_if("running", "removed", fix="wait until the attempt has ended, or cancel it first")
        if definition != self.definition:
            self.trigger_event(Agent.Configured, **dict(definition))

    def remove(self) -> None:
        """Take the definition away."""
        self.refuse_if("ready", "running", "waiting", "removed", fix="cancel it before you remove it")
        self.trigger_event(Agent.Removed)

    def redefine(self, phase: str | None, definition: Definition) -> None:
        """Give the name of a removed agent to a new definition."""
        if self.status != "removed":
            raise Conflict(f"there is already an agent called {self.name}: configure it, or choose another name")
        self.trigger_event(Agent.Redefined, phase=phase, **dict(definition))

    # --- decisions: runs and attempts ---

    def make_ready(self) -> None:
        """Its dependencies are completed."""
        self.check_is("defined")
        self.trigger_event(Agent.Ready, run=self.run)

    @property
    def next_job_id(self) -> UUID:
        """The LLM job of the attempt that starts next."""
        return job_id(self.id, self.run, self.next_attempt)

    def start(self, *, feedback: str | None = None) -> None:
        """Begin the next attempt; a retry works in the feedback that the failed attempt was given."""
        self.check_is("ready", "waiting")
        self.trigger_event(
            Agent.Started,
            run=self.run,
            attempt=self.next_attempt,
            job_id=self.next_job_id,
            feedback=self.feedback if feedback is None else feedback,
        )

    def hold(self, waiting_for: list[Awaited], asset: AssetRef | None = None) -> None:
        """Keep the result back until something else has happened."""
        self.check_is("running")
        self._tell(
            Agent.Waiting,
            waiting_for=waiting_for,
            asset_id=asset and asset.asset_id,
            asset_version=asset and asset.version,
            digest=asset and asset.digest,
        )

    def progress(self, percentage: int) -> None:
        """Say how far the attempt has come; it never goes back, so what is behind changes nothing."""
        self.check_is("running")
        if self.percentage is None or percentage > self.percentage:
            self._tell(Agent.Progressed, percentage=percentage)

    def complete(self, asset: AssetRef) -> None:
        """The result counts."""
        self.check_is("running", "waiting")
        self._tell(Agent.Completed, asset_id=asset.asset_id, asset_version=asset.version, digest=asset.digest)

    def fail(self, code: str, reason: str) -> None:
        """End the run without a result."""
        self.check_is("ready", "running", "waiting")
        self._tell(Agent.Failed, code=code, reason=reason, on_failure=self.definition.on_failure)

    def fail_attempt(self, code: str, reason: str, *, retries: int, now: datetime) -> None:
        """End the attempt: another one later while retries are left and may help, else the run has failed."""
        self.check_is("running")
        allowed = retries if self.definition.retries is None else self.definition.retries
        if code in PERMANENT or self.failures >= allowed:
            self.fail(code, reason)
            return
        self.trigger_event(
            Agent.RetryScheduled,
            run=self.run,
            attempt=self.next_attempt,
            due_at=now + backoff(self.id, self.run, self.next_attempt, self.failures),
            code=code,
            reason=reason,
        )

    def skip(self, because: str) -> None:
        """Pass it over."""
        self.check_is("defined")
        self.trigger_event(Agent.Skipped, run=self.run, because=because)

    def cancel(self, reason: str, note: str | None = None) -> None:
        """Stop it, whatever it is doing."""
        self.check_is("defined", "ready", "running", "waiting")
        self._tell(
            Agent.Cancelled, reason=reason, note=note, job_id=self.in_flight, on_failure=self.definition.on_failure
        )

    def reset(self) -> None:
        """Let it run again, as its next run."""
        self.refuse_if("defined", "removed", fix="it has not run, so there is nothing to reset")
        self.trigger_event(Agent.Reset, run=self.run + 1, job_id=self.in_flight)

    def recover(self, job: UUID, job_attempt: int) -> None:
        """Its job lost its worker and goes on elsewhere."""
        self.check_attempt(job)
        self._tell(Agent.Recovered, job_id=job, job_attempt=job_attempt)

    def _tell(self, kind: type[Aggregate.Event], **fields: object) -> None:
        self.trigger_event(kind, run=self.run, attempt=self.attempt, **fields)

    # --- appliers ---

    @event(Defined)
    def __init__(self, id: UUID, project_id: UUID | None, name: str, phase: str | None) -> None:  # noqa: ARG002
        self.project_id, self.name, self.phase = project_id, name, phase
        self.run = 1
        self._begin_run()

    def _begin_run(self) -> None:
        self.status: AgentStatus = "defined"
        self.attempt = self.failures = 0
        self.job_id = self.feedback = self.asset = self.skipped_because = self.percentage = None
        self.blocks = False
        self._stop_waiting()

    def _stop_waiting(self) -> None:
        self.waiting_for, self.retry_at = [], None

    def _end(self, status: AgentStatus) -> None:
        self.status, self.job_id = status, None
        self._stop_waiting()

    @event(Redefined)
    def _redefined(self, phase: str | None) -> None:
        self.phase = phase
        self.run += 1
        self._begin_run()

    @event(Ready)
    def _made_ready(self) -> None:
        self.status = "ready"

    @event(Started)
    def _started(self, attempt: int, job_id: UUID, feedback: str | None) -> None:
        self.status, self.attempt, self.job_id = "running", attempt, job_id
        self.feedback, self.percentage = feedback, None
        self._stop_waiting()

    @event(Progressed)
    def _progressed(self, percentage: int) -> None:
        self.percentage = percentage

    @event(Waiting)
    def _held(
        self, waiting_for: list[Awaited], asset_id: UUID | None, asset_version: int | None, digest: str | None
    ) -> None:
        self.status, self.waiting_for = "waiting", waiting_for
        if asset_id and asset_version and digest:
            self.asset = AssetRef(asset_id=asset_id, version=asset_version, digest=digest)

    @event(RetryScheduled)
    def _retry_scheduled(self, due_at: datetime) -> None:
        self.status, self.retry_at = "waiting", due_at
        self.failures += 1

    @event(Completed)
    def _completed(self, asset_id: UUID, asset_version: int, digest: str) -> None:
        self.asset = AssetRef(asset_id=asset_id, version=asset_version, digest=digest)
        self._end("completed")

    @event(Failed)
    def _failed(self, on_failure: OnFailure) -> None:
        self.blocks = on_failure == "block"
        self._end("failed")

    @event(Cancelled)
    def _cancelled(self, on_failure: OnFailure) -> None:
        self.blocks = on_failure == "block"
        self._end("cancelled")

    @event(Skipped)
    def _skipped(self, because: str) -> None:
        self.skipped_because = because
        self._end("skipped")

    @event(Reset)
    def _reset(self, run: int) -> None:
        self.run = run
        self._begin_run()

    @event(Removed)
    def _removed(self) -> None:
        self._end("removed")
