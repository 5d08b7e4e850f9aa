"""Where campaigns about money take place: one server, empty tables to copy, one data directory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
import uvloop
from psycopg.conninfo import conninfo_to_dict

from adapters.postgres.embedded.postmaster import Postmaster
from faults.dag.fleet import FORKS
from faults.overspend.plan import CARD
from faults.overspend.process import Order, build
from projections.projector import PROJECTIONS
from tests.support.postgres import fresh_database, server_folder


@dataclass(frozen=True, slots=True)
class Ground:
    """What campaigns share."""

    server: str
    template: str
    data_dir: Path
    home: Path


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
        prices = data_dir / "prices"
        prices.mkdir(parents=True)
        (prices / "liar.json").write_bytes(orjson.dumps(CARD))
        uvloop.run(build(Order("template", ["projector"], conninfo, str(data_dir)), list(PROJECTIONS)))
        FORKS.set_forkserver_preload(
            ["faults.overspend.process", "faults.overspend.provider", "faults.overspend.steps"]
        )
        yield Ground(server, str(conninfo_to_dict(conninfo)["dbname"]), data_dir, home)
