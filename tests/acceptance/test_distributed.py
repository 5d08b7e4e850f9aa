"""The example on api, relay, two projectors and two workers as processes: it ends as it does in one process."""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from difflib import unified_diff
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest

from adapters.blueprints import LoadedBlueprint, parse_blueprint
from domain.ids import agent_id, job_id
from domain.log import StoredEvent
from projections.projector import PROJECTIONS
from tests.acceptance.installation import Installation, Running
from tests.acceptance.product import Product, product
from tests.support.checkout import ROOT
from tests.support.kafka_reading import committed, complaints
from tests.support.postgres import fresh_database
from tests.toybox.programs import wait_for

pytestmark = pytest.mark.process
PROJECT = UUID("6d2f0c1e-53a4-4b0e-9a52-0f6f5a1c7d11")
"""The same in both forms: then every id that is derived from it is, too."""
SEALED = re.compile(rb'"s1\.[0-9a-f]{32}\.[\w-]+"')
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z?")
OF_ONE_RUN = re.compile(r"worker|.*_ms|position|number")
"""What is another one each time: who did it, how long it took, where it lies, as which of a budget's holds."""
SECONDS = 120.0


def example() -> LoadedBlueprint:
    """The shipped one, with answers that are long enough to be interrupted and short enough for a test."""
    folder = ROOT / "examples" / "release-notes"
    text = re.sub(r"max_output_tokens: \d+", "max_output_tokens: 500", (folder / "blueprint.yaml").read_text())
    return LoadedBlueprint(parse_blueprint(text, name=folder.name), text, folder)


def lasting(value: Any) -> Any:
    """What must be the same every time, of a payload or an answer."""
    if isinstance(value, dict):
        return {name: lasting(each) for name, each in value.items() if not OF_ONE_RUN.fullmatch(name)}
    if isinstance(value, list):
        return sorted(map(lasting, value), key=dumped)  # what several did at once is told in any order
    return INSTANT.sub("then", value) if isinstance(value, str) else value


async def unsealed(toybox: Product, events: list[StoredEvent]) -> list[StoredEvent]:
    """The same with the plain texts: what they are sealed to is another one each time."""
    texts = sorted({found for each in events for found in SEALED.findall(each.data)})
    plain = await toybox.system.keyring.unseal([each.decode()[1:-1] for each in texts])
    known = {text: orjson.dumps(said) for text, said in zip(texts, plain, strict=True)}
    return [replace(each, data=SEALED.sub(lambda found: known[found[0]], each.data)) for each in events]


def dumped(value: Any) -> bytes:
    """As bytes to compare and to sort by."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Where the two part, each as far as it is needed to see why."""
    said: list[str] = []
    for name, there in expected.items():
        if (here := found[name]) != there:
            said += unified_diff(lines(there), lines(here), f"{name} embedded", f"{name} distributed", "", "", 1, "")
    return said


def lines(value: Any) -> list[str]:
    """For people."""
    text = b"\n".join(value) if isinstance(value, list) and isinstance(value[0], bytes) else b""
    return (text or orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2)).decode().splitlines()


def histories(events: list[StoredEvent]) -> Mapping[str, list[bytes]]:
    """What happened in each stream of the project; a budget is used by several at once, in any order."""
    found: dict[str, list[bytes]] = {}
    for each in events:
        if each.project_id == PROJECT:
            told = dumped({"type": each.type, "data": lasting(each.payload())})
            found.setdefault(str(each.stream_id), []).append(told)
    return {stream: sorted(said) if b'"type":"budget.' in said[0] else said for stream, said in sorted(found.items())}


@asynccontextmanager
async def person(database: str, folder: Path) -> AsyncIterator[Product]:
    """Somebody who asks and decides, and does nothing else."""
    async with product(database, folder, roles=(), project=PROJECT) as toybox:
        yield toybox


class Outcome:
    """All that is known of a project at its end: the log, what the API shows, the results themselves."""

    def __init__(self, events: list[StoredEvent], shown: Mapping[str, Any], outputs: Mapping[str, str]) -> None:
        self.histories, self.shown, self.outputs = histories(events), shown, outputs
        self.costs = {str(each.stream_id): each.payload()["amount"] for each in events if each.type == "cost.recorded"}


async def outcome(toybox: Product, installation: Installation, url: str) -> Outcome:
    """Looked at once the read models are there."""
    head = await toybox.system.store.head()
    await toybox.system.follower.wait_for(list(PROJECTIONS), head, SECONDS)
    asked = {
        "project": f"/api/projects/{PROJECT}",
        "budgets": f"/api/budgets?project_id={PROJECT}",
        "costs": f"/api/cost?project_id={PROJECT}&by=agent",
        "cost lines": f"/api/cost/lines?project_id={PROJECT}",
        "assets": f"/api/assets?project_id={PROJECT}",
        "jobs": f"/api/llm-jobs?project_id={PROJECT}",
    } | {each.name: f"/api/agents/{agent_id(PROJECT, each.name)}" for each in example().blueprint.agents}
    shown = {name: installation.asked(url, path) for name, path in asked.items()}
    assert {name: each.status_code for name, each in shown.items()} == dict.fromkeys(asked, 200)
    outputs = {each.name: await toybox.output(each.name) for each in example().blueprint.agents}
    return Outcome(
        await unsealed(toybox, await toybox.log()),
        {name: lasting(each.json()) for name, each in shown.items()},
        outputs,
    )


async def approved(toybox: Product) -> None:
    """The one decision that the example asks for."""
    await toybox.decide((await toybox.came("checkpoint.requested", seconds=SECONDS))[0], "approve")
    await toybox.ended("completed", seconds=SECONDS)


@pytest.fixture
def another_database(postgres_server: str) -> Iterator[str]:
    """For the embedded form."""
    with fresh_database(postgres_server) as conninfo:
        yield conninfo


def installed(folder: Path, database: str, *kafka: str) -> Installation:
    """With the data directory of the person who asks."""
    folder.mkdir()
    installation = Installation(folder, database, *kafka)
    installation.program.data_dir = folder / "toybox"
    return installation


async def embedded(database: str, folder: Path) -> Outcome:
    """Everything in one process."""
    installation = installed(folder, database)
    with installation.process() as server:
        async with person(database, folder) as toybox:
            await toybox.create(example())
            await toybox.start()
            await approved(toybox)
            return await outcome(toybox, installation, server.url)


async def distributed(installation: Installation, folder: Path, *, busy: bool) -> Outcome:
    """Six processes; while the draft is written a projector is killed, and the worker that calls or the other one."""
    running: dict[str, Running] = {}
    with ExitStack() as stack:
        for name in ("relay", "api", "projector-1", "projector-2", "worker-1", "worker-2"):
            role = name.partition("-")[0]
            running[name] = stack.enter_context(installation.process(role, name=name, TOYBOX_WORKER_NAME=name))
        async with person(installation.database, folder) as toybox:
            await toybox.create(example())
            await toybox.start()
            by = await workers_of(toybox, 4)
            assert set(by.values()) == {"worker-1", "worker-2"}
            drafting = by["draft"]
            idle = "worker-1" if drafting == "worker-2" else "worker-2"
            running[drafting if busy else idle].kill()
            running["projector-1"].kill()
            await approved(toybox)
            found = await outcome(toybox, installation, running["api"].url)
            assert not await toybox.system.cursors.parked()
        wait_for(lambda: installation.relayed(running["relay"].url))
        assert installation.kafka
        found_there = committed(installation.kafka, installation.topic)
        assert not complaints(found_there, installation.public_positions())
    return found


@pytest.mark.parametrize("busy", [False, True], ids=["an idle worker", "the worker that calls"])
async def test_two_projectors_and_two_workers_do_what_one_process_does_though_one_of_each_is_killed(
    busy: bool, data_home: Path, database: str, another_database: str, kafka_server: str, kafka_prefix: str
) -> None:
    expected = await embedded(another_database, data_home / "embedded")
    installation = installed(data_home / "distributed", database, kafka_server, kafka_prefix)
    installation.environment |= {"TOYBOX_FOLLOW": "kafka", "TOYBOX_WORKER_SLOTS": "2"}
    found = await distributed(installation, data_home / "distributed", busy=busy)
    assert found.outputs == expected.outputs
    if busy:  # the call that died with its worker was made again, under another attempt's id
        assert sorted(found.costs.values()) == sorted(expected.costs.values())
        return
    assert found.costs == expected.costs
    assert len(found.costs) == len(found.outputs)
    assert list(found.histories) == list(expected.histories)
    parted = differences(found.histories, expected.histories) + differences(found.shown, expected.shown)
    assert not parted, "\n".join(parted)


async def workers_of(toybox: Product, count: int) -> Mapping[str, str]:
    """Who calls the model for each agent, once so many calls were admitted."""
    admitted = await toybox.came("llm_job.admitted", count, seconds=SECONDS)
    jobs = {job_id(agent_id(PROJECT, each.name), 1, 1): each.name for each in example().blueprint.agents}
    return {jobs[each.stream_id]: each.payload()["worker"].rpartition(".")[0] for each in admitted}
