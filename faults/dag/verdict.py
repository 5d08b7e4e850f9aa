"""The judge: reads the log and the provider's journal, nothing else, and counts what should not be."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from domain.log import StoredEvent
from faults.crew.findings import Findings
from faults.dag.plan import Plan

FAULTS: Mapping[str, str] = {
    "wrong end": "agents and projects that did not end as the graph and the planned failures demand",
    "asked twice": "attempt ids that the provider saw more than once",
    "not admitted": "requests whose attempt the log had not admitted before",
    "asked too late": "requests for a job that was already answered, or for an attempt already given up",
    "over the limit": "positions at which a budget had settled and held more than its limit",
    "overdrawn": "attempts that cost more than was held for them",
    "not held": "attempts that were admitted without a hold in every open budget of their scopes",
    "hold left": "holds that neither ended nor still run, or that ended twice",
    "doubled": "things that happened more often than once",
    "untrue": "outcomes in the log that are not what the provider did",
    "miscounted": "answers of the provider whose cost the log does not have as it was",
    "log": "gaps in positions or versions",
    "complaint": "errors that a process wrote into its log",
    "not done": "blows that found no victim before the work was over",
}


class Verdict(Findings):
    """What is wrong with runs of projects."""

    FAULTS = FAULTS


Said = Mapping[str, Any]
ENDS = {
    "agent.completed": "completed",
    "agent.failed": "failed",
    "agent.skipped": "skipped",
    "agent.cancelled": "cancelled",
    "project.completed": "completed",
    "project.failed": "failed",
    "project.cancelled": "cancelled",
}
ONCE: Mapping[str, tuple[str, ...]] = {
    "agent.ready": ("run",),
    "agent.started": ("run", "attempt"),
    "agent.completed": ("run",),
    "agent.failed": ("run",),
    "agent.skipped": ("run",),
    "agent.retry_scheduled": ("run", "attempt"),
    "agent.recovered": ("job_id", "job_attempt"),
    "llm_job.queued": (),
    "llm_job.admitted": ("attempt",),
    "llm_job.completed": (),
    "llm_job.failed": (),
    "llm_job.attempt_lost": ("attempt",),
    "llm_job.retry_scheduled": ("attempt",),
    "llm_job.late_usage": ("attempt",),
    "llm_job.result_delivered": (),
    "checkpoint.requested": (),
    "checkpoint.resolved": (),
    "project.started": (),
    "project.phase_advanced": ("to_phase",),
    "project.completed": (),
    "project.failed": (),
    "cost.recorded": (),
    "budget.reserved": ("attempt_id",),
    "asset.superseded": ("version",),
}
"""What happens once in a stream, or once for each value of these fields."""
ONCE_ANYWHERE: Mapping[str, tuple[str, ...]] = {
    "llm_job.queued": ("agent_id", "run", "attempt"),
    "llm_job.admitted": ("attempt_id",),
    "checkpoint.requested": ("agent_id", "run", "attempt"),
    "cost.recorded": ("attempt_id",),
}
"""What happens once in the whole log for each value of these fields, under whatever stream."""


def judge(verdict: Verdict, log: Sequence[StoredEvent], plans: Iterable[Plan]) -> None:
    """What the log alone tells, but for money."""
    _gaps(verdict, log)
    _doubles(verdict, log)
    _ends(verdict, log, plans)


def _gaps(verdict: Verdict, log: Sequence[StoredEvent]) -> None:
    versions: Counter[UUID] = Counter()
    for place, stored in enumerate(log, start=1):
        versions[stored.stream_id] += 1
        if stored.position != place or stored.version != versions[stored.stream_id]:
            verdict.found("log", f"position {stored.position}, version {stored.version} of {stored.stream_id}")


def _doubles(verdict: Verdict, log: Sequence[StoredEvent]) -> None:
    seen: Counter[tuple[object, ...]] = Counter()
    for stored in log:
        said = stored.payload()
        if stored.type in ONCE:
            seen["stream", stored.type, stored.stream_id, *(said[name] for name in ONCE[stored.type])] += 1
        if stored.type in ONCE_ANYWHERE:
            seen["anywhere", stored.type, *(said[name] for name in ONCE_ANYWHERE[stored.type])] += 1
    for what, times in seen.items():
        if times > 1:
            verdict.found("doubled", f"{' '.join(map(str, what))}: {times} times")


def _ends(verdict: Verdict, log: Sequence[StoredEvent], plans: Iterable[Plan]) -> None:
    names: dict[UUID, str] = {}
    reached: dict[UUID, list[str]] = defaultdict(list)
    found: dict[tuple[UUID | None, str], str] = {}
    for stored in log:
        if stored.type == "agent.defined":
            names[stored.stream_id] = stored.payload()["name"]
        elif stored.type in ENDS:
            reached[stored.stream_id].append(ENDS[stored.type])
    for stored in log:
        if stored.type == "agent.defined":
            found[stored.project_id, names[stored.stream_id]] = " then ".join(reached[stored.stream_id]) or "defined"
    for plan in plans:
        end, agents = plan.ends()
        if reached[plan.project_id] != [end]:
            verdict.found("wrong end", f"project {plan.name}: {reached[plan.project_id]}, not {end}")
        for name, wanted in agents.items():
            if (got := found.get((plan.project_id, name), "absent")) != wanted:
                verdict.found("wrong end", f"agent {name} of {plan.name}: {got}, not {wanted}")
