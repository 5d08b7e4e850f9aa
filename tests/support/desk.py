"""The product with a vendor behind it and a client in front of it, over real connections."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from api.metrics import Metrics
from tests.acceptance.product import Product, product
from tests.support.answering import Reader, follow, serving
from tests.support.client import issue
from tests.support.vendors.server import VendorServer
from toybox.services import web_app


@dataclass
class Desk:
    """A running product, its vendor, and a client."""

    product: Product
    vendor: VendorServer
    client_app: FastAPI
    client: httpx.AsyncClient
    host: str
    token: str

    def chat(self, text: str = "Say something.", **more: Any) -> dict[str, Any]:
        """A question."""
        messages = [{"role": "user", "content": text}]
        return {"provider": "vendor", "model": "m", "messages": messages, "max_output_tokens": 500, **more}

    async def queued(self, **more: Any) -> str:
        """The path of a new job."""
        answer = await self.client.post("/api/llm-jobs", json=self.chat(**more))
        assert answer.status_code == 202, answer.text
        return answer.headers["location"]

    async def ask(self, reader: Reader, *, up_to: int | None = None, **more: Any) -> httpx.Response:
        """A question whose answer is streamed."""
        return await follow(self.client, "/api/llm-jobs", reader, body=self.chat(stream=True, **more), up_to=up_to)

    async def rest(self, reader: Reader, place: str, **how: Any) -> httpx.Response:
        """What is still to be told."""
        return await follow(self.client, f"{place}/stream", reader, **how)

    async def detail(self, place: str) -> dict[str, Any]:
        """The job as it is stored."""
        head = await self.product.system.store.head()
        answer = await self.client.get(place, params={"min_position": head, "timeout_ms": 10_000})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def holder(self, *permissions: str) -> dict[str, str]:
        """Headers of somebody who may do this and nothing else."""
        token = await issue(self.product.system.commands, *permissions, label=" ".join(permissions)[:50])
        return {"Authorization": f"Bearer {token}"}

    @asynccontextmanager
    async def another(self) -> AsyncIterator[httpx.AsyncClient]:
        """A second API on the same database, which knows nothing of the first one's connections."""
        async with serving(web_app(self.product.system, Metrics()), self.host, self.token) as client:
            yield client


@asynccontextmanager
async def desk(database: str, folder: Path, host: str, **given: Any) -> AsyncIterator[Desk]:
    """All of it, stopped at the end."""
    with VendorServer() as vendor:
        async with product(database, folder, vendor=vendor, **given) as made:
            token = await issue(made.system.commands, "*", label="tester")
            app = web_app(made.system, Metrics())
            async with serving(app, host, token) as client:
                yield Desk(made, vendor, app, client, host, token)
