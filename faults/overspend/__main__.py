"""The overspending campaign: a thousand jobs against five dollars, seed after seed; see `faults/README.md`.

`python -m faults.overspend --seed 1 --seeds 50 --jobs 1000 --workers 4`
"""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import uvloop
from psycopg.conninfo import conninfo_to_dict

from adapters.postgres.embedded.postmaster import Postmaster
from faults.dag.fleet import FORKS
from faults.dag.process import only_complaints
from faults.overspend.campaign import Campaign, cards, run
from faults.overspend.plants import EXPOSED_BY
from faults.overspend.process import Order, build
from faults.overspend.verdict import Verdict
from projections.projector import PROJECTIONS
from tests.support.postgres import fresh_database, server_folder


@dataclass(frozen=True, slots=True)
class Ground:
    """Where campaigns take place: one server, a database with empty tables to copy, one data directory."""

    server: str
    template: str
    data_dir: Path
    home: Path

    def campaign(self, campaign: Campaign) -> Verdict:
        """One seed."""
        return uvloop.run(run(campaign, self.server, self.template, self.data_dir, self.home))


@contextmanager
def ground() -> Iterator[Ground]:
    """A server of its own, thrown away afterwards."""
    with server_folder() as home:
        postmaster = Postmaster(home / "data", {})
        server = postmaster.start()
        try:
            with prepared(server, home) as made:
                yield made
        finally:
            postmaster.stop()


@contextmanager
def prepared(server: str, home: Path) -> Iterator[Ground]:
    """On a server that runs."""
    with fresh_database(server) as conninfo:
        data_dir = home / "toybox"
        cards(data_dir)
        uvloop.run(build(Order("template", ["projector"], conninfo, str(data_dir)), list(PROJECTIONS)))
        FORKS.set_forkserver_preload(["faults.overspend.process", "faults.overspend.provider"])
        yield Ground(server, str(conninfo_to_dict(conninfo)["dbname"]), data_dir, home)


def control(plant: str, at: Ground, seed: int = 1) -> Verdict:
    """A short campaign without blows against a planted bug."""
    small = Campaign(
        seed, jobs=80, workers=1, worker_kills=0, front_kills=0, projector_kills=0, stalls=0, patience=20, plant=plant
    )
    return at.campaign(small)


def main() -> int:
    """Run what the command line asks for; 0 when everything is as it must be."""
    parser = argparse.ArgumentParser(prog="python -m faults.overspend", description=__doc__)
    given = Campaign()
    for name in ("seed", "jobs", "workers", "slots", "worker_kills", "front_kills", "projector_kills", "stalls"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(given, name))
    parser.add_argument("--seeds", type=int, default=1, help="so many, from the first one on")
    parser.add_argument("--plant", choices=list(EXPOSED_BY), help="one campaign against this bug, which it must find")
    parser.add_argument("--plants", choices=["too", "none"], default="too", help="planted bugs after the seeds")
    asked = vars(parser.parse_args())
    plants, seeds, only = asked.pop("plants"), asked.pop("seeds"), asked.pop("plant")
    only_complaints()
    began, bad = time.monotonic(), 0
    wanted = [only] if only else list(EXPOSED_BY) if plants == "too" else []
    with ground() as at:
        for seed in range(asked["seed"], asked["seed"] + (0 if only else seeds)):
            verdict = at.campaign(replace(Campaign(**asked), seed=seed))
            bad += not verdict.clean
            print(
                f"{time.monotonic() - began:7.1f} s ",
                *verdict.lines(),
                sep="\n" if not verdict.clean else "  ",
                flush=True,
            )
        for plant in wanted:
            verdict = control(plant, at, asked["seed"])
            caught = verdict.counts[EXPOSED_BY[plant]] > 0
            bad += not caught
            print(f"planted {plant}: {'caught' if caught else 'NOT CAUGHT'}, {dict(verdict.counts)}", flush=True)
    print("no fault of any kind" if not bad else f"FAULTS in {bad} of {seeds + len(wanted)} runs, see above")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
