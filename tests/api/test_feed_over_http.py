"""The live feed over real connections and a real log: a hundred of them cut at random while events pour in."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random

import httpx
import pytest
import uvicorn

from api.app import close_feeds
from tests.support.client import Api

CUTS = 100
WRITERS = 4
PROJECTS = 40
"""Made by each writer; the phases added to each make the rest of the load."""
PHASES = 4


@asynccontextmanager
async def served(api: Api, host: str) -> AsyncIterator[httpx.AsyncClient]:
    """The application behind a real server, and a client of it."""
    config = uvicorn.Config(api.app, host=host, port=0, log_config=None, access_log=False, ws="none", lifespan="off")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    while not server.started:  # noqa: ASYNC110 -- the server has no event for it
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        headers = {"Authorization": f"Bearer {api.owner}"}
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}", headers=headers, timeout=30) as client:
            yield client
    finally:
        await close_feeds(api.app)
        server.should_exit = True
        await asyncio.wait_for(task, 10)


async def pour(client: httpx.AsyncClient, writer: int) -> None:
    """Make projects and phases, one command after the other."""
    for number in range(PROJECTS):
        made = await client.post("/api/projects", json={"name": f"{writer}/{number}"})
        for phase in range(PHASES):
            await client.post(f"/api/projects/{made.json()['id']}/phases", json={"name": f"phase-{phase}"})


async def listen(client: httpx.AsyncClient, last_id: int, seconds: float, until: int | None = None) -> list[int]:
    """The ids that arrived until the connection was cut; heartbeats are told by a negative sign."""
    got: list[int] = []
    with suppress(TimeoutError):
        async with (
            asyncio.timeout(seconds),
            client.stream("GET", "/api/events", headers={"Last-Event-ID": str(last_id)}) as answer,
        ):
            assert answer.status_code == 200
            kind, position = "message", 0
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                if name == "event":
                    kind = value
                elif name == "id":
                    position = int(value)
                elif name == "data" and kind == "message":
                    assert json.loads(value)["position"] == position
                    got.append(position)
                    if position == until:
                        return got
                elif not line:
                    kind = "message"
    return got


@pytest.mark.parametrize("seed", [1])
async def test_a_hundred_cut_connections_receive_the_whole_log_once_and_in_order(
    whole_api: Api, loopback: str, seed: int
) -> None:
    random = Random(seed)
    async with served(whole_api, loopback) as client:
        writing = asyncio.gather(*(pour(client, writer) for writer in range(WRITERS)))
        got: list[int] = []
        for _ in range(CUTS):
            got += await listen(client, got[-1] if got else 0, random.uniform(0.005, 0.12))
        await writing
        head = await whole_api.store.head()
        if not got or got[-1] < head:
            got += await listen(client, got[-1] if got else 0, 20, until=head)
    assert got == list(range(1, head + 1))
    assert head == WRITERS * PROJECTS * (1 + PHASES) + 1


async def test_a_server_that_stops_ends_its_feeds_and_does_not_wait_for_them(whole_api: Api, loopback: str) -> None:
    async with served(whole_api, loopback) as client, client.stream("GET", "/api/events") as answer:
        lines = answer.aiter_lines()
        assert await anext(lines) == ": toybox"
        await close_feeds(whole_api.app)
        rest = [line async for line in lines]
    assert "event: closed" in rest
