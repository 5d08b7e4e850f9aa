"""Prompts: rendered from what the log holds, in a few reads, with no more content than the template speaks of."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest

from adapters.blueprints import outputs_used, render
from adapters.memory import MemoryStore
from adapters.objects.local import LocalObjects
from commands.agents import FinishAgentAttempt
from commands.llm_jobs import ChatMessage, QueueLlmJob
from commands.models import Message
from commands.projects import StartProject
from domain.errors import NotFound, Refused
from domain.ids import agent_id, job_id
from domain.llm_jobs import LlmJob
from domain.log import StoredEvent
from domain.values import Text
from streams.prompts import Prompts, job_of
from tests.commands.projects_stage import HOLD, AnswerByHand, HoldAgentByHand, build
from tests.commands.staging import admit, complete
from tests.streams.reactions.driver import Driver
from tests.support.story import Story


@dataclass
class Counted:
    """A log whose reads are counted."""

    store: MemoryStore
    reads: int = 0

    async def read_stream(
        self, stream_id: UUID, *, up_to: int | None = None, after: int = 0, limit: int | None = None
    ) -> Sequence[StoredEvent]:
        self.reads += 1
        return await self.store.read_stream(stream_id, up_to=up_to, after=after, limit=limit)

    async def read_streams(self, stream_ids: Collection[UUID]) -> Mapping[UUID, Sequence[StoredEvent]]:
        self.reads += 1
        return await self.store.read_streams(stream_ids)


class Objects(LocalObjects):
    """Content whose readers are counted."""

    def __init__(self, *where: object) -> None:
        super().__init__(*where)  # type: ignore[arg-type]
        self.read_digests: list[str] = []

    async def read(self, subject: UUID, digest: str) -> bytes:
        self.read_digests.append(digest)
        return await super().read(subject, digest)


@dataclass
class Desk:
    """A project whose agents write their own names, and what a prompt of it takes."""

    story: Story
    objects: Objects
    reader: Counted = field(init=False)
    prompts: Prompts = field(init=False)

    def __post_init__(self) -> None:
        self.reader = Counted(self.story.store)
        self.prompts = Prompts(self.reader, self.story.keyring, self.objects, render, outputs_used)  # type: ignore[arg-type]

    async def finish(self, name: str) -> None:
        """An agent's model answers, with its name."""
        project = self.story.id("project")
        job = job_id(agent_id(project, name), 1, 1)
        stored = await self.objects.put(project, f"by {name}".encode())
        output = Text(digest=stored.digest, size=stored.size)
        await self.story.given(
            admit(job, project_id=project, hold_seconds=HOLD),
            complete(job, project_id=project, output=output),
            FinishAgentAttempt(job_id=job),
        )

    async def job(self, job: UUID) -> LlmJob:
        """As the log has it."""
        return job_of(job, await self.story.store.read_stream(job))

    async def messages(self, name: str, attempt: int = 1) -> tuple[Message, ...]:
        """What the agent's job asks; reads are counted from here on."""
        job = await self.job(job_id(agent_id(self.story.id("project"), name), 1, attempt))
        self.reader.reads, self.objects.read_digests = 0, []
        return await self.prompts.messages(job)


@pytest.fixture
def desk(story: Story, tmp_path: Path) -> Desk:
    """Nothing on it yet."""
    return Desk(story, Objects(tmp_path, story.keyring))


async def told(desk: Desk, prompt: str, before: int = 30, **more: object) -> Sequence[Message]:
    """What the last of so many agents asks its model."""
    names = [f"a{number}" for number in range(before)]
    sketch = {"write": {**dict.fromkeys(names, ()), "last": names}}
    project = await build(desk.story, sketch, last={"prompt": prompt, **more})
    driver = Driver(desk.story)
    await driver.do(StartProject(project_id=project))
    for name in names:
        await desk.finish(name)
    await driver.until_quiet()
    return await desk.messages("last")


async def test_a_prompt_takes_few_reads_and_only_the_outputs_that_it_speaks_of(desk: Desk) -> None:
    said = await told(
        desk, "{{ inputs.topic }}: {{ outputs.a3 }}, {{ outputs['a7'] }}", instructions="As {{ outputs.a3 }}"
    )
    assert said == (Message("system", "As by a3"), Message("user", "tides: by a3, by a7"))
    assert desk.reader.reads <= 3
    assert len(desk.objects.read_digests) == 2


async def test_a_prompt_that_loops_over_all_outputs_has_them_all(desk: Desk) -> None:
    said = await told(desk, "{% for name, text in outputs | items %}{{ name }} {{ text }};{% endfor %}", before=4)
    assert said == (Message("user", "a0 by a0;a1 by a1;a2 by a2;a3 by a3;"),)
    assert desk.reader.reads <= 3


async def test_a_prompt_that_speaks_of_nobody_reads_no_content(desk: Desk) -> None:
    assert await told(desk, "Just {{ inputs.topic }}.", before=2) == (Message("user", "Just tides."),)
    assert not desk.objects.read_digests
    assert desk.reader.reads == 2


async def test_what_a_reviewer_answered_stands_behind_the_result_that_it_is_about(desk: Desk) -> None:
    project = await build(desk.story, {"write": {"one": ()}}, one={"prompt": "Write."})
    await Driver(desk.story).do(StartProject(project_id=project))
    await desk.objects.put(project, b"")
    one = agent_id(project, "one")
    await desk.story.given(
        HoldAgentByHand(agent_id=one, with_asset=False),
        AnswerByHand(agent_id=one, project_id=project, feedback="Shorter."),
    )
    said = await desk.messages("one", attempt=2)
    assert said[0] == Message("user", "Write.")
    assert said[1].content == "A reviewer answered:\n\nShorter.\n\nWork this in and answer anew."


async def test_a_chat_brings_its_own_messages_however_long(desk: Desk) -> None:
    short, stored = desk.story.id("short"), desk.story.id("stored")
    messages = [ChatMessage(role="user", content="Hello?")]
    kept = await desk.objects.put(stored, b'[{"role":"user","content":"Long"}]', makes_key=True)
    facts = {"provider": "any", "model": "some"}
    await desk.story.given(
        QueueLlmJob(job_id=short, messages=messages, **facts),  # type: ignore[arg-type]
        QueueLlmJob(job_id=stored, messages=Text(digest=kept.digest, size=kept.size), **facts),  # type: ignore[arg-type]
    )
    assert await desk.prompts.messages(await desk.job(short)) == (Message("user", "Hello?"),)
    assert await desk.prompts.messages(await desk.job(stored)) == (Message("user", "Long"),)
    with pytest.raises(NotFound, match="there is no llm_job"):
        await desk.job(desk.story.id("nothing"))
    await desk.story.keyring.destroy(short)
    with pytest.raises(Refused, match="destroyed") as erased:
        await desk.prompts.messages(await desk.job(short))
    assert erased.value.code == "erased"
