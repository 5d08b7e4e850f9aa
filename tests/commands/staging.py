"""Commands that set a stage for stories about jobs and money, and break what no command of the product breaks."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from commands.handling import Command, handler
from commands.llm_jobs import AdmitLlmJob, ChatMessage, CompleteAttempt, FailAttempt, QueueLlmJob
from commands.work import UnitOfWork
from domain.agents import Agent, Definition
from domain.budgets import Budget
from domain.costs import CostLine
from domain.ids import Scope, agent_id, budget_id
from domain.llm_jobs import LlmJob
from domain.pricing import Usage
from domain.projects import Project, ProjectSettings, QualitySettings
from domain.values import AiConfig
from tests.support.story import Story

GLOBAL = Scope(kind="global")
EVERYTHING = budget_id(GLOBAL)


class StageAgentJob(Command, permission="staging.make"):
    """A running project with one phase and one agent, whose first job is queued."""

    project_id: UUID
    phase: str = "write"
    agent: str = "writer"

    @property
    def agent_id(self) -> UUID:
        """The agent's id."""
        return agent_id(self.project_id, self.agent)

    def sealed_under(self) -> UUID:
        """The project's key."""
        return self.project_id

    def makes_key(self) -> bool:
        """A project has one from its beginning."""
        return True


class PauseStage(Command, permission="staging.make"):
    """Pause the project."""

    project_id: UUID


class CancelStagedAgent(Command, permission="staging.make"):
    """Cancel the agent, and leave its job alone."""

    agent_id: UUID


class CancelBehindTheBudget(Command, permission="staging.make"):
    """Cancel a parked job without telling the budget that it waits for."""

    job_id: UUID


@handler
def stage_agent_job(command: StageAgentJob, work: UnitOfWork) -> None:
    """All at once, as their own commands would have left them."""
    project = Project(
        id=work.check_new(Project, command.project_id),
        project_id=command.project_id,
        name="Stage",
        description=None,
        blueprint_name=None,
        blueprint_digest=None,
        ai=AiConfig(provider="scripted", model="scripted-small"),
        quality=QualitySettings(),
        settings=ProjectSettings(),
    )
    stream = work.check_new(Agent, command.agent_id)
    agent = Agent.define(stream, command.project_id, command.agent, command.phase, Definition())
    job = work.check_new(LlmJob, agent.next_job_id)
    project.add_phase(command.phase)
    project.trigger_event(
        Project.AgentAdded,
        agent_id=stream,
        name=command.agent,
        phase=command.phase,
        depends_on=[],
        on_failure="block",
        retries=None,
    )
    project.initialize([])
    project.start(None)
    agent.make_ready()
    agent.start()
    work.add(project)
    work.add(agent)
    work.add(
        LlmJob(
            job,
            project_id=command.project_id,
            phase=command.phase,
            agent_id=stream,
            run=1,
            attempt=1,
            provider="scripted",
            model="scripted-small",
            max_output_tokens=100,
            temperature=Decimal("0.5"),
            priority=5,
            timeout_seconds=60,
            max_attempts=3,
            messages=None,
            not_before=None,
            min_output_tokens=None,
            key_id=None,
            deadline=None,
            fallbacks=[],
        )
    )


@handler
def pause_stage(command: PauseStage, work: UnitOfWork) -> None:
    """Paused."""
    work.get(Project, command.project_id).pause("test", None)


@handler
def cancel_staged_agent(command: CancelStagedAgent, work: UnitOfWork) -> None:
    """Cancelled."""
    work.get(Agent, command.agent_id).cancel("test")


@handler
def cancel_behind_the_budget(command: CancelBehindTheBudget, work: UnitOfWork) -> None:
    """Cancelled."""
    work.get(LlmJob, command.job_id).cancel("test")


def usd(amount: str | int) -> Decimal:
    """An amount."""
    return Decimal(amount)


def queue(job: UUID, **over: Any) -> QueueLlmJob:
    """A direct job with one message."""
    facts: dict[str, Any] = {"provider": "scripted", "model": "scripted-small", "timeout_seconds": 60}
    return QueueLlmJob(job_id=job, messages=[ChatMessage(role="user", content="Hello")], **(facts | over))


def admit(job: UUID, bound: str = "1", attempt: int = 1, **over: Any) -> AdmitLlmJob:
    """An admission as a worker asks for it."""
    facts: dict[str, Any] = {
        "worker": "worker-1",
        "provider": "scripted",
        "model": "scripted-small",
        "rate_id": "scripted-1",
        "input_bound": 100,
        "output_bound": 100,
        "request": '[{"role": "user"}]',
        "hold_seconds": 120,
        "lease_seconds": 10,
    }
    return AdmitLlmJob(job_id=job, attempt=attempt, bound=usd(bound), **(facts | over))


def bill(amount: str) -> dict[str, Any]:
    """What a provider counted, adding up to an amount."""
    lines = [
        _line("input", 10, usd(0), usd(0)),
        _line("output", 20, usd(1), usd(amount)),
    ]
    return {
        "usage": Usage.simple("scripted-small-1", input_tokens=10, output_tokens=20),
        "lines": lines,
        "amount": usd(amount),
    }


def _line(bucket: str, quantity: int, rate: Decimal, amount: Decimal) -> CostLine:
    return CostLine(
        model="scripted-small-1",
        bucket=bucket,
        quantity=quantity,
        rate=rate,
        per=1_000_000,
        rate_id="scripted-1",
        amount=amount,
    )


def complete(job: UUID, amount: str | None = "0.4", attempt: int = 1, **over: Any) -> CompleteAttempt:
    """A model's answer; without an amount its provider did not count."""
    facts: dict[str, Any] = {
        "output": "Hello to you",
        "model": "scripted-small-1",
        "response_id": "response\n7",
        "finish_reason": "stop",
        "queue_ms": 5,
        "first_token_ms": 7,
        "total_ms": 9,
    } | (bill(amount) if amount else {})
    return CompleteAttempt(job_id=job, attempt=attempt, **(facts | over))


def fail(job: UUID, amount: str | None = None, attempt: int = 1, **over: Any) -> FailAttempt:
    """A call without an answer: retryable, sent and uncounted, unless said otherwise."""
    facts: dict[str, Any] = {"kind": "overloaded", "detail": "busy", "retryable": True, "sent": True}
    return FailAttempt(job_id=job, attempt=attempt, **(facts | (bill(amount) if amount else {}) | over))


def money(story: Story, budget: UUID = EVERYTHING) -> tuple[Decimal, Decimal]:
    """What a budget has settled and what it holds."""
    found = story.state(Budget, budget)
    return found.settled, found.held


def peak_over_limit(story: Story, budget: UUID = EVERYTHING) -> Sequence[tuple[int, Decimal]]:
    """Positions at which settled + held was above the limit, computed from the log's payloads alone."""
    limit = settled = Decimal(0)
    holds: dict[str, Decimal] = {}
    above: list[tuple[int, Decimal]] = []
    for stored in story.events:
        if stored.stream_id != budget:
            continue
        said = stored.payload()
        match stored.type:
            case "budget.opened" | "budget.limit_changed":
                limit = Decimal(said["limit"])
            case "budget.reserved":
                holds[said["attempt_id"]] = Decimal(said["amount"])
            case "budget.settled" | "budget.hold_expired":
                del holds[said["attempt_id"]]
                settled += Decimal(said["amount"])
            case "budget.released":
                del holds[said["attempt_id"]]
            case "budget.adjusted":
                settled += Decimal(said["delta"])
        if settled + sum(holds.values()) > limit:
            above.append((stored.position, settled + sum(holds.values())))
    return above
