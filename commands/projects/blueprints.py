"""A project from a blueprint: its phases, agents, budgets and inputs in one append, ready to be started."""

from collections.abc import Iterator
from uuid import UUID

from commands.handling import Command, handler
from commands.projects.definition import GivenInput, OfProject
from commands.work import UnitOfWork
from domain.agents import Agent, Definition, Review
from domain.blueprints import AgentSpec, Blueprint, BudgetLimit
from domain.budgets import Budget, CostSettings, rules_of, terms_under
from domain.errors import Refused
from domain.ids import Scope, agent_id, budget_id, cost_settings_id
from domain.projects import NewAgent, Project, ProjectSettings, QualitySettings
from domain.values import AiConfig, Name, PositiveMoney


class CreateProjectFromBlueprint(OfProject, Command, permission="projects.create"):
    """Make a project as a blueprint describes it; the inputs are all there, defaults filled in."""

    blueprint: Blueprint
    inputs: tuple[GivenInput, ...] = ()
    budget_limit: PositiveMoney | None = None
    """In place of the blueprint's own limit for the whole project."""
    name: Name | None = None

    def makes_key(self) -> bool:
        """From now on the project has one."""
        return True

    def streams(self) -> tuple[UUID, ...]:
        """Everything that is made."""
        agents = [agent_id(self.project_id, spec.name) for spec in self.blueprint.agents]
        return (self.project_id, *agents, cost_settings_id(), *(budget_id(scope) for scope, _ in self.limits()))

    def limits(self) -> Iterator[tuple[Scope, BudgetLimit]]:
        """What the project, its phases and its agents may spend, where that is limited."""
        own = BudgetLimit.model_construct(limit=self.budget_limit) if self.budget_limit else self.blueprint.budget
        if own:
            yield Scope(kind="project", project_id=self.project_id), own
        for phase in self.blueprint.phases:
            if phase.budget:
                yield Scope(kind="phase", project_id=self.project_id, phase=phase.name), phase.budget
        for spec in self.blueprint.agents:
            if spec.budget:
                agent = agent_id(self.project_id, spec.name)
                yield Scope(kind="agent", project_id=self.project_id, agent_id=agent), spec.budget


@handler
def create_project_from_blueprint(command: CreateProjectFromBlueprint, work: UnitOfWork) -> None:
    """All of it or nothing."""
    blueprint, project_id = command.blueprint, command.project_id
    _check_inputs(command)
    project = Project(
        id=work.check_new(Project, project_id),
        project_id=project_id,
        name=command.name or blueprint.name,
        description=work.seal(blueprint.description),
        blueprint_name=blueprint.name,
        blueprint_digest=blueprint.digest,
        ai=AiConfig(**dict(blueprint.defaults)),
        quality=QualitySettings(
            checkpoints=list(blueprint.quality.checkpoints),
            retries=blueprint.quality.retries,
            minimum_score=blueprint.quality.minimum_score,
        ),
        settings=ProjectSettings(),
    )
    specs = {spec.name: spec for spec in blueprint.agents}
    agents: list[NewAgent] = []
    for phase in blueprint.phases:
        project.add_phase(phase.name)
        agents += [_new_agent(spec, phase.name, project_id, work) for spec in phase.agents]
    project.add_agents(agents)
    project.initialize([each.sealed(work) for each in command.inputs])
    rules = rules_of(work.find(CostSettings, cost_settings_id()))
    budgets = [
        (
            work.check_new(Budget, budget_id(scope)),
            scope,
            each.limit,
            terms_under(rules, each.limit, each.unit, each.window, now=work.now),
        )
        for scope, each in command.limits()
    ]
    definitions = [_definition(specs[name], work) for name in project.agents]

    work.add(project)
    for node, definition in zip(project.agents.values(), definitions, strict=True):
        work.add(Agent.define(node.agent_id, project_id, node.name, node.phase, definition))
    for stream, scope, limit, terms in budgets:
        work.add(Budget(id=stream, scope=scope, project_id=project_id, limit=limit, **dict(terms)))


def _check_inputs(command: CreateProjectFromBlueprint) -> None:
    given, declared = {each.name for each in command.inputs}, command.blueprint.inputs.keys()
    if unknown := sorted(given - declared):
        raise Refused(
            f"the blueprint declares no input {', '.join(unknown)}: leave it out", code="unknown_input", names=unknown
        )
    if missing := sorted(declared - given):
        raise Refused(f"the input {', '.join(missing)} is missing: give its value", code="input_missing", names=missing)


def _new_agent(spec: AgentSpec, phase: str, project_id: UUID, work: UnitOfWork) -> NewAgent:
    return NewAgent(
        agent_id=work.check_new(Agent, agent_id(project_id, spec.name)),
        name=spec.name,
        phase=phase,
        depends_on=list(spec.depends_on),
        on_failure=spec.on_failure,
        retries=spec.retries,
    )


def _definition(spec: AgentSpec, work: UnitOfWork) -> Definition:
    review, output = spec.checkpoint, spec.output
    expires = review.expires_after if review else None
    return Definition(
        role=spec.role,
        instructions=work.seal(spec.instructions),
        prompt=work.seal(spec.prompt),
        ai=AiConfig(**dict(spec.ai)),
        retries=spec.retries,
        on_failure=spec.on_failure,
        checkpoint=review
        and Review(
            title=review.title,
            question=work.seal(review.question),
            expires_in_seconds=None if expires is None else int(expires.total_seconds()),
        ),
        output_name=output.asset if output else None,
        media_type=output.media_type if output else "text/markdown",
        timeout_seconds=spec.timeout_seconds,
    )
