"""The commit cutter: the connection is dropped around a COMMIT, again and again; every command takes effect once.

`python -m faults.commit_cutter --cuts 200 --seed 1`
"""

import asyncio
import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from adapters.postgres.embedded import EmbeddedPostgres
from adapters.postgres.migrate import migrate
from commands.handling import Caller, Commands
from faults.crew.asking import command_line
from faults.crew.journals import Journal, Work, counter_id, read_journals
from faults.crew.proxy import CUTS, Cut, cutting
from faults.crew.sending import insist, quiet_logs, sending
from faults.crew.verdict import Verdict, examine
from faults.crew.writers import WriterOrder, invent
from tests.commands.counter import OpenCounter
from tests.support.postgres import server_folder
from tests.support.story import OWNER

CHOSEN = 0.5
"""Share of the commits that are cut: between two cuts the load gets on."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """How many cuts, under which load."""

    cuts: int = 200
    callers: int = 32
    undisturbed: int = 4
    """Callers of a second process, whose connection is left alone: what they append must not confuse the first."""
    hot: int = 3
    seed: int = 1
    store: str = "postgres"


@dataclass(slots=True)
class Outcome:
    """What the judge says, and how often each kind of cut was made."""

    verdict: Verdict
    cuts: Counter[Cut] = field(default_factory=Counter[Cut])

    @property
    def committed_unheard(self) -> int:
        """Cuts after which the transaction stood although its caller had heard nothing."""
        return self.cuts["after"] + self.cuts["late"]


class Knife:
    """Chooses commits: a share of them, all kinds of cut equally often, until enough were made."""

    def __init__(self, cuts: int, rng: random.Random) -> None:
        self._rng = rng
        self._left: list[Cut] = [CUTS[number % len(CUTS)] for number in range(cuts)]
        rng.shuffle(self._left)

    @property
    def done(self) -> bool:
        """Whether all cuts were chosen."""
        return not self._left

    def __call__(self) -> Cut | None:
        return self._left.pop() if self._left and self._rng.random() < CHOSEN else None


async def cut_commits(campaign: Campaign, conninfo: str, folder: Path) -> Outcome:
    """One campaign on a migrated database; `folder` takes the socket and the journals."""
    knife = Knife(campaign.cuts, random.Random(campaign.seed))
    work = invent(_order(campaign, 0, folder))
    undisturbed = invent(_order(campaign, 1, folder))
    async with cutting(conninfo, folder, knife) as cutter, sending(conninfo) as (direct, _):
        await _open_counters(direct, campaign.hot)
        with Journal(folder / "cut.journal") as cut, Journal(folder / "undisturbed.journal") as left_alone:
            async with sending(cutter.conninfo, campaign.store) as (commands, _), asyncio.TaskGroup() as callers:
                for _ in range(campaign.callers):
                    callers.create_task(_call(commands, work, cut, knife))
                for _ in range(campaign.undisturbed):
                    callers.create_task(_call(direct, undisturbed, left_alone, knife))
    return Outcome(await examine(conninfo, read_journals(folder)), cutter.cuts)


def _order(campaign: Campaign, number: int, folder: Path) -> WriterOrder:
    return WriterOrder(
        conninfo="",
        store=campaign.store,
        folder=str(folder),
        number=number,
        incarnation=1,
        commands=0,
        callers=campaign.callers,
        hot=campaign.hot,
        cold=1,
        seed=campaign.seed,
    )


async def _open_counters(commands: Commands, hot: int) -> None:
    for number in range(hot + 1):
        await commands.send(OpenCounter(counter_id=counter_id(number)), Caller(OWNER, "http", f"open {number}"))


async def _call(commands: Commands, work: Iterator[Work], journal: Journal, knife: Knife) -> None:
    while not knife.done:
        mine = next(work)
        journal.sent(mine)
        journal.answered(mine, await insist(commands, mine))


async def _in_a_new_server(campaign: Campaign, home: Path) -> Outcome:
    folder = home / secrets.token_hex(4)
    folder.mkdir()
    async with EmbeddedPostgres(home / f"data-{secrets.token_hex(4)}") as server:
        await migrate(server.conninfo)
        return await cut_commits(campaign, server.conninfo, folder)


def main() -> int:
    """Run what the command line asks for; 0 when everything is as it must be."""
    knobs = ("cuts", "callers", "undisturbed", "hot", "seed")
    parser = command_line("commit_cutter", __doc__, Campaign(), *knobs)
    parser.add_argument("--store", choices=["both", "postgres", "forgetful"], default="both")
    asked = vars(parser.parse_args())
    store = asked.pop("store")
    quiet_logs()
    good = True
    with server_folder() as home:
        for chosen in ("postgres", "forgetful"):
            if store not in ("both", chosen):
                continue
            began = time.monotonic()
            outcome = uvloop.run(_in_a_new_server(Campaign(**asked, store=chosen), home))
            print(f"{chosen}: {dict(outcome.cuts)} cuts in {time.monotonic() - began:.1f} s")
            print(*outcome.verdict.lines(), sep="\n")
            as_it_must = outcome.verdict.clean if chosen == "postgres" else outcome.verdict.counts["doubled"] > 0
            good = good and as_it_must
            print("as it must be" if as_it_must else "NOT as it must be")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
