"""What a job asks its model: its own messages, or its agent's prompt rendered from inputs and earlier outputs."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import orjson

from commands.models import Message
from commands.objects import Objects
from commands.ports import Keyring
from domain.agents import Agent
from domain.errors import NotFound, Refused
from domain.kernel import A, evolve
from domain.llm_jobs import LlmJob
from domain.log import LogReader
from domain.projects import Project
from domain.values import Text

Render = Callable[[str, Mapping[str, str | int | Decimal], Mapping[str, str]], str]
"""Template, inputs and earlier outputs by name → text."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """Reads everything from the log and the object store, right before a request is sent."""

    reader: LogReader
    keyring: Keyring
    objects: Objects
    render: Render

    async def job(self, job_id: UUID) -> LlmJob:
        """The job as the log has it now."""
        return await self._fold(LlmJob, job_id)

    async def messages(self, job: LlmJob) -> tuple[Message, ...]:
        """The conversation to send. Refused when it cannot be made: a template's fault, or an erased text."""
        history = await self.reader.read_stream(job.id, up_to=None)
        asked = history[0].payload()["messages"]
        if asked is not None:
            text = await self.text(job.project_id or job.id, Text.model_validate(asked))
            return tuple(Message(each["role"], each["content"]) for each in orjson.loads(text))
        if job.agent_id is None or job.project_id is None:
            raise Refused("this job has neither messages nor an agent", code="invalid_request")
        return await self._of_agent(job.agent_id, job.project_id)

    async def _of_agent(self, agent_id: UUID, project_id: UUID) -> tuple[Message, ...]:
        agent = await self._fold(Agent, agent_id)
        project = await self._fold(Project, project_id)
        inputs = {each.name: await self._input(project_id, each.kind, each.text) for each in project.inputs}
        outputs = {name: text async for name, text in self._outputs(project, agent.name)}
        definition = agent.definition
        instructions, prompt, feedback = [
            await self._unsealed(sealed) for sealed in (definition.instructions, definition.prompt, agent.feedback)
        ]
        found: list[Message] = []
        if instructions:
            found.append(Message("system", self.render(instructions, inputs, outputs)))
        found.append(Message("user", self.render(prompt, inputs, outputs)))
        if feedback:
            if agent.asset is not None:
                before = await self.objects.read(project_id, agent.asset.digest)
                found.append(Message("assistant", before.decode()))
            found.append(Message("user", f"A reviewer answered:\n\n{feedback}\n\nWork this in and answer anew."))
        return tuple(found)

    async def _outputs(self, project: Project, agent: str) -> AsyncIterator[tuple[str, str]]:
        for name in project.ancestors_of(agent):
            before = await self._fold(Agent, project.agents[name].agent_id)
            if before.status == "completed" and before.asset is not None:
                content = await self.objects.read(project.id, before.asset.digest)
                yield name, content.decode(errors="replace")
            else:
                yield name, ""

    async def _input(self, project_id: UUID, kind: str, text: Text) -> str | int | Decimal:
        plain = await self.text(project_id, text)
        if kind != "number":
            return plain
        return int(plain) if plain.lstrip("-").isdigit() else Decimal(plain)

    async def text(self, subject: UUID, text: Text) -> str:
        """The plain text, from its event or from the object store."""
        if text.sealed is None:
            return (await self.objects.read(subject, text.digest)).decode()
        return await self._unsealed(text.sealed)

    async def _unsealed(self, sealed: str | None) -> str:
        if sealed is None:
            return ""
        plain = (await self.keyring.unseal([sealed]))[0]
        if plain is None:
            raise Refused("the key of this text was destroyed", code="erased")
        return plain

    async def _fold(self, kind: type[A], stream_id: UUID) -> A:
        found: A | None = None
        for stored in await self.reader.read_stream(stream_id):
            found = evolve(found, stored)
        if found is None:
            raise NotFound(f"there is no {kind.TOPIC} {stream_id}")
        return found
