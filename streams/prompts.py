"""What a job asks its model: its own messages, or its agent's prompt rendered from inputs and earlier outputs."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
from domain.log import LogReader, StoredEvent
from domain.projects import Project
from domain.values import Text

Render = Callable[[str, Mapping[str, str | int | Decimal], Mapping[str, str]], str]
"""Template, inputs and earlier outputs by name → text."""
Uses = Callable[[str, Collection[str]], Collection[str]]
"""Template and agents → those of them whose output it uses."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """Reads everything from the log and the object store, right before a request is sent."""

    reader: LogReader
    keyring: Keyring
    objects: Objects
    render: Render
    uses: Uses

    async def messages(self, job: LlmJob, queued: StoredEvent | None = None) -> tuple[Message, ...]:
        """The conversation to send. Refused when it cannot be made: a template's fault, or an erased text.

        Whoever has the job's first event at hand spares the log a question.
        """
        queued = queued or (await self.reader.read_stream(job.id, limit=1))[0]
        asked = asked_in(queued)
        if asked is not None:
            text = await self.text(job.project_id or job.id, asked)
            return tuple(Message(each["role"], each["content"]) for each in orjson.loads(text))
        if job.agent_id is None or job.project_id is None:
            raise Refused("this job has neither messages nor an agent", code="invalid_request")
        return await self._of_agent(job.agent_id, job.project_id)

    async def _of_agent(self, agent_id: UUID, project_id: UUID) -> tuple[Message, ...]:
        found = await self.reader.read_streams([agent_id, project_id])
        agent = _folded(Agent, agent_id, found[agent_id])
        project = _folded(Project, project_id, found[project_id])
        definition, given = agent.definition, project.inputs
        instructions, prompt, feedback, *texts = await self._texts(
            project_id, [definition.instructions, definition.prompt, agent.feedback, *(each.text for each in given)]
        )
        inputs = {each.name: _input(each.kind, text) for each, text in zip(given, texts, strict=True)}
        outputs = await self._outputs(project, agent.name, [instructions, prompt])
        said: list[Message] = []
        if instructions:
            said.append(Message("system", self.render(instructions, inputs, outputs)))
        said.append(Message("user", self.render(prompt, inputs, outputs)))
        if feedback:
            if agent.asset is not None:
                before = await self.objects.read(project_id, agent.asset.digest)
                said.append(Message("assistant", before.decode()))
            said.append(Message("user", f"A reviewer answered:\n\n{feedback}\n\nWork this in and answer anew."))
        return tuple(said)

    async def _outputs(self, project: Project, agent: str, templates: Iterable[str]) -> Mapping[str, str]:
        """What the agents before this one have brought, as far as its templates speak of it."""
        before = project.ancestors_of(agent)
        used = {name for template in templates for name in self.uses(template, before)}
        ids = {name: project.agents[name].agent_id for name in before if name in used}
        if not ids:
            return {}
        found = await self.reader.read_streams(list(ids.values()))
        agents = [_folded(Agent, agent_id, found[agent_id]) for agent_id in ids.values()]
        return dict(zip(ids, await asyncio.gather(*(self._output(project.id, each) for each in agents)), strict=True))

    async def _output(self, project_id: UUID, agent: Agent) -> str:
        if agent.status != "completed" or agent.asset is None:
            return ""
        return (await self.objects.read(project_id, agent.asset.digest)).decode(errors="replace")

    async def text(self, subject: UUID, text: Text) -> str:
        """The plain text, from its event or from the object store."""
        return (await self._texts(subject, [text]))[0]

    async def _texts(self, subject: UUID, texts: Sequence[Text | str | None]) -> list[str]:
        """Plain texts in the same order; nothing reads as no text. One look-up for all that is sealed."""
        sealed = [each.sealed if isinstance(each, Text) else each for each in texts]
        plain = iter(await self.keyring.unseal([each for each in sealed if each is not None]))
        found: list[str] = []
        for text, inside in zip(texts, sealed, strict=True):
            if inside is not None:
                found.append(_not_erased(next(plain)))
            elif isinstance(text, Text):
                found.append((await self.objects.read(subject, text.digest)).decode())
            else:
                found.append("")
        return found


def as_json(messages: Iterable[Message]) -> str:
    """The conversation as it is recorded, and as a job brings its own."""
    return orjson.dumps([{"role": each.role, "content": each.content} for each in messages]).decode()


def asked_in(queued: StoredEvent) -> Text | None:
    """The messages that a job came with, sealed as it was queued; None for an agent's job, which has none."""
    asked = queued.payload()["messages"]
    return None if asked is None else Text.model_validate(asked)


def job_of(job_id: UUID, history: Iterable[StoredEvent]) -> LlmJob:
    """The job as its history has it."""
    return _folded(LlmJob, job_id, history)


def _input(kind: str, plain: str) -> str | int | Decimal:
    if kind != "number":
        return plain
    return int(plain) if plain.lstrip("-").isdigit() else Decimal(plain)


def _not_erased(plain: str | None) -> str:
    if plain is None:
        raise Refused("the key of this text was destroyed", code="erased")
    return plain


def _folded(kind: type[A], stream_id: UUID, history: Iterable[StoredEvent]) -> A:
    found: A | None = None
    for stored in history:
        found = evolve(found, stored)
    if found is None:
        raise NotFound(f"there is no {kind.TOPIC} {stream_id}")
    return found
