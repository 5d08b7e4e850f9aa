"""How much later a token arrives through toybox than from its vendor: `python -m bench.stream [--quick]`.

A local vendor sends the time as its tokens. They are read with the official SDK, directly, and from the job's stream,
in turns in the same run: of one process (`toybox up`), and of an API whose worker is another process. Latency is from
the vendor's write to the client's read; the first token is counted from the client's request, so it holds the queue and
the admission.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx
from openai import AsyncOpenAI

from adapters.postgres.embedded import make_data_dir
from tests.support.postgres import server_folder

CARD = {
    "provider": "tokens",
    "effective_from": "2020-01-01",
    "source": "made up for a benchmark",
    "models": [{"model": "*", "prices": [{"rates": {"input": "1", "output": "5"}}]}],
}


WAYS: dict[str, tuple[tuple[str, ...], ...]] = {
    "one process": ((),),
    "two processes": (("api", "projector"), ("worker",)),
}


@dataclass(frozen=True)
class Load:
    """How many clients at once read how many tokens, how often."""

    clients: int
    tokens: int
    rounds: int
    pause: int = 20
    """Milliseconds between two tokens."""


class Readings:
    """What the clients of one way have seen, in milliseconds."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.firsts: list[float] = []

    def reader(self) -> "Reading":
        """One more client."""
        return Reading(self, time.monotonic_ns())


class Reading:
    """One client: takes text as it comes, and finds the tokens in it."""

    def __init__(self, readings: Readings, began: int) -> None:
        self._readings, self._began = readings, began
        self._rest = ""
        self.tokens = 0

    def take(self, text: str) -> None:
        """Text that has arrived just now."""
        now = time.monotonic_ns()
        *whole, self._rest = (self._rest + text).split(" ")
        for each in whole:
            if not self.tokens:
                self._readings.firsts.append((now - self._began) / 1e6)
            self.tokens += 1
            self._readings.latencies.append((now - int(each)) / 1e6)


async def direct(url: str, model: str, readings: Readings) -> int:
    """With the vendor's SDK."""
    async with AsyncOpenAI(base_url=url, api_key="any", max_retries=0) as sdk:
        reading = readings.reader()
        asked: list[Any] = [{"role": "user", "content": "Go"}]
        stream: Any = await sdk.chat.completions.create(model=model, messages=asked, stream=True)
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                reading.take(chunk.choices[0].delta.content)
    return reading.tokens


async def through(client: httpx.AsyncClient, model: str, readings: Readings) -> int:
    """From the job's stream."""
    reading = readings.reader()
    body = {"provider": "tokens", "model": model, "messages": [{"role": "user", "content": "Go"}], "stream": True,
            "max_output_tokens": 100_000}  # fmt: skip
    name = ""
    async with client.stream("POST", "/api/llm-jobs", json=body) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: ") and name == "delta":
                reading.take(json.loads(line[6:])["text"])
            elif line.startswith("data: ") and name in ("failed", "cancelled"):
                raise RuntimeError(line)
    return reading.tokens


@contextmanager
def running(folder: Path, *roles: tuple[str, ...]) -> Iterator[tuple[str, httpx.AsyncClient]]:
    """The vendor's address, and a client of the first of the servers, each of which has some roles, or all."""
    prices = make_data_dir(folder) / "prices"
    prices.mkdir()
    (prices / "tokens.json").write_text(json.dumps(CARD))
    chosen = {"TOYBOX_DATA_DIR": str(folder), "TOYBOX_LOG_LEVEL": "warning", "TOYBOX_WORKER_SLOTS": "64"}
    with ExitStack() as stack:
        port = stack.enter_context(_started("bench.load.token_vendor", {}))
        vendor, key_env = f"http://127.0.0.1:{int(port)}/v1", {"TOKENS_KEY": "any"}
        words = [word for role in roles[0] for word in ("--role", role)]
        url = json.loads(
            stack.enter_context(_started("toybox", chosen | key_env, "up", "--port", "0", "--json", *words))
        )["url"]
        for each in roles[1:]:
            words = [word for role in each for word in ("--role", role)]
            stack.enter_context(_started("toybox", chosen | key_env, "up", "--json", *words))
        key = {"Authorization": f"Bearer {(folder / 'owner.key').read_text().strip()}"}
        config = {"base_url": vendor, "key_env": "TOKENS_KEY"}
        provider = {"name": "tokens", "kind": "openai_compatible", "config": config}
        httpx.post(f"{url}/api/ai-providers", json=provider, headers=key, timeout=30).raise_for_status()
        yield vendor, httpx.AsyncClient(base_url=url, headers=key, timeout=60)


@contextmanager
def _started(module: str, environment: dict[str, str], *words: str) -> Iterator[str]:
    """A program, and the line that it says first."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *words], env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline()
    finally:
        process.terminate()
        process.wait(timeout=30)


async def measure(vendor: str, client: httpx.AsyncClient, way: str, load: Load) -> None:
    """Both ways in turns."""
    model, ways = f"tokens-{load.tokens}-{load.pause}", {"direct": Readings(), way: Readings()}
    for _ in range(load.rounds):
        for name, readings in ways.items():
            calls = [
                direct(vendor, model, readings) if name == "direct" else through(client, model, readings)
                for _ in range(load.clients)
            ]
            got = await asyncio.gather(*calls)
            if set(got) != {load.tokens}:
                raise RuntimeError(f"{name}: not every token came: {got}")
    for name, readings in ways.items():
        cuts = quantiles(readings.latencies, n=100)
        deltas = f"delta p50 {cuts[49]:7.2f} ms  p99 {cuts[98]:7.2f} ms"
        first = f"first token p50 {median(readings.firsts):7.1f} ms"
        pace = f"{load.clients:>3} streams, {1000 // load.pause} tokens/s each"
        print(f"{pace}, {name:<13} {deltas}   {first}", flush=True)


async def compare(vendor: str, client: httpx.AsyncClient, way: str, *, quick: bool) -> None:
    """Few and many, at the pace of a quick model."""
    async with client:
        await through(client, "tokens-5-5", Readings())  # the first call connects and compiles
        for clients in (1, 16):
            await measure(vendor, client, way, Load(clients, *((50, 2) if quick else (200, 3))))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.stream")
    parser.add_argument("--quick", action="store_true", help="fewer tokens")
    given = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for way, roles in WAYS.items():
        with server_folder() as folder, running(folder / "data", *roles) as (vendor, client):
            asyncio.run(compare(vendor, client, way, quick=given.quick))


if __name__ == "__main__":
    main()
