"""A tiny runner: feeds every new event of a story through reactions, by hand where the outside would act."""

import importlib
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from commands.agents import StartAgentAttempt
from commands.handling import Caller, Command
from domain.errors import Refused
from domain.ids import agent_id
from domain.kernel import load_event
from streams.reacting import REACTIONS
from tests.commands.projects_stage import FinishAgentByHand, an_agent, fail_job, statuses, the_project
from tests.support.story import OWNER, Story

SENTENCES = (
    "advance_finished_phases",
    "cancel_jobs_of_stopped_agents",
    "fail_agent_attempts",
    "mark_ready_agents",
    "recover_agents",
    "settle_failed_agents",
    "start_agents_held_by_a_pause",
    "start_ready_agents",
)


class Driver:
    """One story and how far its events have been answered. A reaction may only ever be refused as not due."""

    def __init__(self, story: Story, *, sentences: Sequence[str] = SENTENCES) -> None:
        for name in sentences:
            importlib.import_module(f"streams.reactions.{name}")
        self.story = story
        self.reactions = [REACTIONS[name] for name in sentences]
        self.position = 0
        self.not_due = 0

    async def until_quiet(self) -> None:
        """Answer every event, and those that the answers bring."""
        while self.position < len(self.story.events):
            stored = self.story.events[self.position]
            happened = load_event(stored)
            for reaction in self.reactions:
                if stored.type in reaction.types:
                    for ordinal, command in enumerate(reaction.react(happened, stored)):
                        key = f"{reaction.name}|{stored.position}|{ordinal}"
                        caller = Caller(OWNER, "reaction", key, stored.correlation_id, stored.command_id)
                        await self._send(command, caller)
            self.position += 1

    async def _send(self, command: Command, caller: Caller) -> None:
        try:
            await self.story.commands.send(command, caller)
        except Refused as refusal:
            if refusal.code != "not_due":
                raise
            self.not_due += 1

    # --- what the outside does ---

    @property
    def project(self) -> UUID:
        """The project on the stage."""
        return self.story.id("project")

    async def do(self, *commands: Command) -> "Driver":
        """What a person asks for, and all that follows from it."""
        for command in commands:
            await self.story.given(command)
            await self.until_quiet()
        return self

    async def answer(self, *names: str) -> "Driver":
        """The models answer these agents."""
        return await self.do(*(FinishAgentByHand(agent_id=agent_id(self.project, name)) for name in names))

    async def fail(self, name: str, kind: str = "timeout") -> "Driver":
        """An agent's job fails for good."""
        await fail_job(self.story, name, kind)
        await self.until_quiet()
        return self

    async def pass_time(self, seconds: float) -> "Driver":
        """Deadlines come: every scheduled retry that is due by then is asked for once, as the runner would."""
        before = self.story.clock.now
        self.story.clock.advance(seconds)
        for stored in list(self.story.events):
            said = stored.payload()
            if stored.type == "agent.retry_scheduled":
                due = datetime.fromisoformat(said["due_at"])
                if before < due <= self.story.clock.now:
                    command = StartAgentAttempt(agent_id=stored.stream_id, run=said["run"], attempt=said["attempt"])
                    await self._send(command, Caller(OWNER, "deadline", f"{stored.stream_id}|{stored.version}"))
        await self.until_quiet()
        return self

    def shows(self, status: str, **agents: str) -> None:
        """The project's status and every agent's."""
        assert (the_project(self.story).status, statuses(self.story)) == (status, agents)

    def runs(self, name: str) -> tuple[int, int]:
        """Run and attempt of an agent."""
        agent = an_agent(self.story, name)
        return agent.run, agent.attempt
