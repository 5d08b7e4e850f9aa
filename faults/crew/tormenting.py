"""What campaigns against a broker share: servers that are thrown away, blows in a random order, a command line."""

import asyncio
import random
import secrets
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar

import uvloop

from adapters.postgres.embedded import EmbeddedPostgres
from faults.crew.asking import command_line
from faults.crew.sending import quiet_logs
from tests.support.kafka_broker import KafkaBroker, a_broker
from tests.support.postgres import server_folder

AWAY_SECONDS = (0.1, 3.0)
K = TypeVar("K")
Tell = Callable[[str], None]


class Verdict(Protocol):
    """What came of a campaign."""

    @property
    def clean(self) -> bool:
        """Whether everything is as it must be."""
        ...

    def lines(self) -> list[str]:
        """For people."""
        ...


@asynccontextmanager
async def servers(home: Path) -> AsyncGenerator[tuple[str, KafkaBroker, Path]]:
    """A fresh database, a fresh broker, and a folder for what processes say; `home` is thrown away."""
    folder = home / f"campaign-{secrets.token_hex(4)}"
    folder.mkdir()
    with a_broker() as broker:
        async with EmbeddedPostgres(home / f"data-{secrets.token_hex(4)}") as server:
            yield server.conninfo, broker, folder


def shuffled(counts: Mapping[K, int], rng: random.Random) -> list[K]:
    """Each kind of blow as often as it is wanted, in a random order."""
    blows = [kind for kind, count in counts.items() for _ in range(count)]
    rng.shuffle(blows)
    return blows


async def take_away(broker: KafkaBroker, rng: random.Random, *, kill: bool) -> None:
    """The broker is gone for a while. In this thread, for it ends with the thread that starts it."""
    broker.kill() if kill else broker.stop()
    await asyncio.sleep(rng.uniform(*AWAY_SECONDS))
    broker.start()


def run(
    program: str, about: str | None, usual: Any, torment: Callable[[Any, Path, Tell], Coroutine[Any, Any, Verdict]]
) -> int:
    """Run what the command line asks for, `usual` where it does not say; 0 when everything is as it must be."""
    parser = command_line(program, about, usual, *asdict(usual))
    asked = type(usual)(**vars(parser.parse_args()))
    quiet_logs()
    with server_folder() as home:
        verdict = uvloop.run(torment(asked, home, lambda line: print(line, flush=True)))
    print(*verdict.lines(), sep="\n")
    return 0 if verdict.clean else 1
