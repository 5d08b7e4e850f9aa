"""How one agent, one phase or one wait changes inside a project's overview."""

from collections.abc import Iterator, Mapping
from uuid import UUID

from projections.projects.views import AgentLine, PhaseLine, PhaseStatus, ProjectOverview, Waiting
from projections.views import replaced, without


def agents_of(view: ProjectOverview) -> Iterator[AgentLine]:
    """Every agent, phase by phase."""
    for phase in view.phases:
        yield from phase.agents


def agent_named(view: ProjectOverview, agent_id: UUID | None) -> str | None:
    """An agent's name, where it is one of this project's."""
    return next((each.name for each in agents_of(view) if each.id == agent_id), None)


def agent_at_work(view: ProjectOverview, job_id: UUID) -> AgentLine | None:
    """The agent whose present attempt this job is."""
    return next((each for each in agents_of(view) if each.job is not None and each.job.id == job_id), None)


def with_agent(view: ProjectOverview, agent_id: UUID, **changes: object) -> ProjectOverview:
    """One agent changed, and the counts with it; the same view where it has no such agent."""
    for at, phase in enumerate(view.phases):
        for place, agent in enumerate(phase.agents):
            if agent.id == agent_id:
                new = agent.but(**changes)
                phases = replaced(view.phases, at, phase.but(agents=replaced(phase.agents, place, new)))
                if new.status == agent.status:
                    return view.but(phases=phases)
                return view.but(phases=phases, counts=counted(view, {agent.status: -1, new.status: 1}))
    return view


def counted(view: ProjectOverview, changes: dict[str, int]) -> dict[str, int]:
    """Agents by status after these changes; a status that nobody has is left out."""
    counts = dict(view.counts)
    for status, change in changes.items():
        counts[status] = counts.get(status, 0) + change
    return {status: count for status, count in sorted(counts.items()) if count}


def with_new_agent(view: ProjectOverview, phase: str, agent: AgentLine) -> ProjectOverview:
    """One agent more."""
    phases = tuple(each.but(agents=(*each.agents, agent)) if each.name == phase else each for each in view.phases)
    return view.but(phases=phases, counts=counted(view, {agent.status: 1}))


def without_agent(view: ProjectOverview, agent_id: UUID) -> ProjectOverview:
    """One agent less."""
    gone = next((each for each in agents_of(view) if each.id == agent_id), None)
    if gone is None:
        return view
    phases = tuple(each.but(agents=without(each.agents, lambda one: one.id == agent_id)) for each in view.phases)
    runs = view.removed_runs | {agent_id: gone.run}
    return view.but(phases=phases, counts=counted(view, {gone.status: -1}), removed_runs=runs)


def with_phases(view: ProjectOverview, statuses: Mapping[str, PhaseStatus]) -> ProjectOverview:
    """Some phases, by name, in another status."""
    return view.but(phases=tuple(_phase(each, statuses.get(each.name, each.status)) for each in view.phases))


def with_phases_from(view: ProjectOverview, first: str, status: PhaseStatus) -> ProjectOverview:
    """This phase and all behind it in another status."""
    names = [phase.name for phase in view.phases]
    start = names.index(first) if first in names else len(names)
    return view.but(phases=tuple(_phase(each, status) if at >= start else each for at, each in enumerate(view.phases)))


def _phase(phase: PhaseLine, status: PhaseStatus) -> PhaseLine:
    return phase if phase.status == status else phase.but(status=status)


def waiting_also(view: ProjectOverview, more: Waiting) -> ProjectOverview:
    """One wait more."""
    return view.but(waiting=(*view.waiting, more))


def no_longer_waiting(view: ProjectOverview, moved: UUID) -> ProjectOverview:
    """Without the waits that are about an agent, a job or a checkpoint that moved on."""
    left = without(view.waiting, lambda each: moved in each.about)
    return view if left is view.waiting else view.but(waiting=left)


def no_longer_held(view: ProjectOverview, attempt: UUID) -> ProjectOverview:
    """Without the hold of an attempt whose cost is known."""
    if attempt not in view.holds:
        return view
    return view.but(holds={each: amount for each, amount in view.holds.items() if each != attempt})
