"""The skip detector: several writers, readers by position, kill -9 of writers and database; nothing may be missed.

`python -m faults.skip_detector --writers 4 --events 200000 --writer-kills 20 --database-kills 3 --seed 1`
"""

import asyncio
import random
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import uvloop

from adapters.postgres.embedded import EmbeddedPostgres
from adapters.postgres.migrate import migrate
from commands.handling import Caller
from faults.crew.asking import command_line
from faults.crew.fleet import Reader, Writer
from faults.crew.journals import Progress, counter_id, read_journals
from faults.crew.killing import DEATHS, kill_database
from faults.crew.readers import ReaderOrder
from faults.crew.sending import quiet_logs, sending
from faults.crew.stores import make_plain_sequence
from faults.crew.verdict import Verdict, examine
from faults.crew.writers import WriterOrder
from tests.commands.counter import OpenCounter
from tests.support.postgres import server_folder
from tests.support.story import OWNER

EVENTS_PER_COMMAND = 1.1
"""One command in ten counts on two counters."""
CONTROL_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Campaign:
    """How much of everything."""

    writers: int = 4
    events: int = 200_000
    writer_kills: int = 20
    database_kills: int = 3
    stalls: int = 2
    callers: int = 16
    hot: int = 4
    cold: int = 400
    seed: int = 1
    store: str = "postgres"


@dataclass(frozen=True, slots=True, order=True)
class Blow:
    """Something that is done to the system when this share of the answers has come in."""

    at: float
    kind: Literal["kill writer", "kill database", "stall writer"]


def blows(campaign: Campaign, rng: random.Random) -> list[Blow]:
    """When what happens, the last first."""
    kinds = (
        *(["kill writer"] * campaign.writer_kills),
        *(["kill database"] * campaign.database_kills),
        *(["stall writer"] * campaign.stalls),
    )
    return sorted((Blow(rng.uniform(0.03, 0.85), kind) for kind in kinds), reverse=True)  # pyright: ignore[reportArgumentType]


class Run:
    """One campaign on one fresh server."""

    def __init__(self, campaign: Campaign, server: EmbeddedPostgres, folder: Path, tell: Callable[[str], None]) -> None:
        self._campaign, self._server, self._folder, self._tell = campaign, server, folder, tell
        self._rng = random.Random(campaign.seed)
        self._progress = Progress(folder)
        self._commands = round(campaign.events / EVENTS_PER_COMMAND / campaign.writers) + 1
        self._deaths = list(DEATHS)
        self._stalling: set[asyncio.Task[None]] = set()
        self._writers: list[Writer] = []
        self._readers: list[Reader] = []

    async def __call__(self) -> Verdict:
        """Prepare, let loose, beat, wait, judge."""
        conninfo = self._server.conninfo
        await migrate(conninfo)
        for name, eager in (("told", False), ("eager", True)):
            self._readers.append(Reader(ReaderOrder(conninfo, str(self._folder / f"reader-{name}.seen"), eager)))
        try:
            await asyncio.gather(self._open_counters(conninfo), *(each.begun() for each in self._readers))
            for number in range(self._campaign.writers):
                self._writers.append(Writer(self._order(conninfo, number)))
                self._writers[-1].start()
            await self._beat()
            await asyncio.gather(*(each.finish() for each in self._readers))
        finally:
            for task in self._stalling:
                task.cancel()
            for each in (*self._writers, *self._readers):
                each.end()
        return await examine(conninfo, read_journals(self._folder), [each.path for each in self._readers])

    async def _open_counters(self, conninfo: str) -> None:
        async with sending(conninfo) as (commands, _):
            numbers = range(self._campaign.hot + self._campaign.cold)
            opening = (OpenCounter(counter_id=counter_id(number)) for number in numbers)
            await asyncio.gather(
                *(commands.send(each, Caller(OWNER, "http", f"open {each.counter_id}")) for each in opening)
            )
        if self._campaign.store == "plain-sequence":
            await make_plain_sequence(conninfo)

    def _order(self, conninfo: str, number: int) -> WriterOrder:
        chosen = self._campaign
        return WriterOrder(
            conninfo=conninfo,
            store=chosen.store,
            folder=str(self._folder),
            number=number,
            incarnation=0,
            commands=self._commands,
            callers=chosen.callers,
            hot=chosen.hot,
            cold=chosen.cold,
            seed=chosen.seed,
        )

    async def _beat(self) -> None:
        coming = blows(self._campaign, self._rng)
        expected = self._commands * self._campaign.writers
        told = 0.0
        while sum(writer.done for writer in self._writers) < len(self._writers):  # asks every one: a failed one raises
            share = self._progress.look() / expected
            if share >= told + 0.1:
                told = share
                self._tell(f"{share:4.0%} of {expected} commands answered, {len(coming)} blows to come")
            while coming and coming[-1].at <= share and await self._strike(coming[-1]):
                coming.pop()
            await asyncio.sleep(0.05)
        assert not coming, f"the load was over before these could happen: {coming}; ask for more events"

    async def _strike(self, blow: Blow) -> bool:
        """Do it; False when there is nobody to do it to at this moment."""
        if blow.kind == "kill database":
            death = self._deaths[0]
            self._deaths.append(self._deaths.pop(0))
            await kill_database(self._server, death)
            self._tell(f"killed the database: {death}")
            return True
        victims = [writer for writer in self._writers if writer.at_work]
        if not victims:
            return False
        victim = self._rng.choice(victims)
        if blow.kind == "kill writer":
            victim.kill()
        else:
            stalling = asyncio.create_task(victim.stall())
            self._stalling.add(stalling)
            stalling.add_done_callback(self._stalling.discard)
        return True


async def detect(campaign: Campaign, home: Path, tell: Callable[[str], None] = lambda _: None) -> Verdict:
    """Run one campaign on a server of its own under `home`, a folder that is thrown away."""
    folder = home / f"campaign-{secrets.token_hex(4)}"
    folder.mkdir()
    async with EmbeddedPostgres(home / f"data-{secrets.token_hex(4)}") as server:
        return await Run(campaign, server, folder, tell)()


async def control(campaign: Campaign, home: Path, tell: Callable[[str], None] = lambda _: None) -> Verdict:
    """The same with positions from a plain sequence: it must lose events, soon, or the detector proves nothing."""
    verdict = Verdict()
    for attempt in range(CONTROL_ROUNDS):
        chosen = Campaign(
            writers=campaign.writers,
            events=3_000,
            writer_kills=0,
            database_kills=0,
            stalls=0,
            callers=4,  # small batches on a wide field, or the versions of hot streams would keep commits apart
            hot=1_000,
            cold=3_000,
            seed=campaign.seed + attempt,
            store="plain-sequence",
        )
        verdict = await detect(chosen, home, tell)
        if verdict.counts["missed"]:
            break
    return verdict


def main() -> int:
    """Run what the command line asks for; 0 when everything is as it must be."""
    knobs = ("writers", "events", "writer_kills", "database_kills", "stalls", "callers", "hot", "cold", "seed")
    parser = command_line("skip_detector", __doc__, Campaign(), *knobs)
    parser.add_argument("--store", choices=["both", "postgres", "plain-sequence"], default="both")
    asked = vars(parser.parse_args())
    store = asked.pop("store")
    quiet_logs()
    began = time.monotonic()

    def tell(line: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {line}", flush=True)

    good = True
    with server_folder() as home:
        if store != "plain-sequence":
            verdict = uvloop.run(detect(Campaign(**asked), home, tell))
            print(*verdict.lines(), sep="\n")
            good = verdict.clean
            print("the log: nothing missed, nothing lost, nothing doubled" if good else "the log: FAULTS, see above")
        if store != "postgres":
            verdict = uvloop.run(control(Campaign(**asked), home, tell))
            print(*verdict.lines(), sep="\n")
            caught = verdict.counts["missed"] > 0
            print("a plain sequence: " + ("loses events, as it must" if caught else "lost NOTHING: proves nothing"))
            good = good and caught
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
