"""Does what the worker and the reactions of a running system do, step by step, for tests of what people see of it."""

from typing import Any
from uuid import UUID

from commands.handling import Caller, Command
from domain.errors import ToyboxError
from domain.kernel import load_event
from domain.llm_jobs import LlmJob
from domain.log import StoredEvent
from domain.values import Text
from streams.reacting import REACTIONS
from tests.commands.staging import admit, complete
from tests.support.client import Api
from tests.support.story import OWNER

BLUEPRINT = """\
blueprint: 1
name: release-notes
description: Notes for a release.
defaults: {provider: scripted, model: scripted-small}
phases:
  - name: write
    agents:
      - name: writer
        instructions: You write.
        prompt: Write.
        checkpoint: {title: "Publish?", question: "Is it true?"}
        output: {asset: notes.md}
      - {name: editor, instructions: You edit., prompt: "Edit {{ outputs.writer }}", depends_on: [writer]}
"""


class Worker:
    """Follows a log by hand."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._position = 0

    async def work(self, text: str = "The text.") -> int:
        """Answer every event and every job, until nothing is left to do; answers the head."""
        store = self._api.store
        while found := await store.read(self._position, 500):
            for stored in found:
                self._position = stored.position
                await self._react(stored)
                if stored.type == LlmJob.Queued.TYPE:
                    await self.answer(stored, text)
        return await store.head()

    async def answer(self, queued: StoredEvent, text: str, **how: Any) -> None:
        """The model answers a job."""
        subject = queued.project_id or queued.stream_id
        stored = await self._api.services.objects.put(subject, text.encode())
        facts = {"project_id": queued.project_id, "hold_seconds": 900}
        output = Text(digest=stored.digest, size=stored.size)
        await self._send(admit(queued.stream_id, **facts), f"admit {queued.stream_id}")
        done = complete(queued.stream_id, project_id=queued.project_id, output=output, **how)
        await self._send(done, f"complete {queued.stream_id}")

    async def _react(self, stored: StoredEvent) -> None:
        for reaction in REACTIONS.values():
            if stored.type in reaction.types:
                for number, command in enumerate(reaction.react(load_event(stored), stored)):
                    await self._send(command, f"{reaction.name} {stored.position} {number}")

    async def _send(self, command: Command, key: str) -> None:
        try:
            await self._api.services.commands.send(command, Caller(OWNER, "reaction", key))
        except ToyboxError as refusal:
            if refusal.code != "not_due":
                raise


async def started(api: Api, blueprint: str = BLUEPRINT) -> str:
    """A project that runs."""
    project = (await api.post("/api/projects", {"blueprint": blueprint})).json()["id"]
    await api.post(f"/api/projects/{project}/start")
    return project


async def stream_of(api: Api, kind: str) -> UUID:
    """The stream of the last event of a type."""
    return [each for each in await api.events() if each.type == kind][-1].stream_id
