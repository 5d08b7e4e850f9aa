"""One process of a campaign: toybox with the given roles, until it is killed or told to stop."""

import asyncio
import logging
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import orjson
import structlog
import uvloop
from pydantic import SecretStr

from faults.dag.plants import PLANTS
from streams.dispatcher import Pace
from toybox.settings import Role, Settings
from toybox.system import running

KEY_VARIABLE = "VENDOR_KEY"
BRISK = Pace(lease_seconds=3, heartbeat_seconds=0.8, grace_seconds=4, poll_seconds=0.5, again_seconds=0.3)
"""A third of the usual lease and a tenth of the usual grace: a campaign cannot wait long for lost holds to expire."""


@dataclass(frozen=True, slots=True)
class Order:
    """All that a process is told."""

    name: str
    roles: list[Role]
    database_url: str
    data_dir: str
    vendor_key: str
    slots: int = 4
    plant: str = ""
    usual_pace: bool = False

    @property
    def settings(self) -> Settings:
        """As its environment would have them."""
        return Settings(
            data_dir=Path(self.data_dir),
            database_url=SecretStr(self.database_url),
            worker_name=self.name,
            worker_slots=self.slots,
            pool_size=5,
        )

    @property
    def pace(self) -> Pace:
        """The same for all workers of a campaign."""
        return Pace() if self.usual_pace else BRISK


def only_complaints() -> None:
    """Warnings and errors, on stderr, a line of JSON each: the campaign reads them afterwards."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


async def live(order: Order) -> None:
    """Work until SIGTERM."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    environ = {KEY_VARIABLE: order.vendor_key}
    async with running(
        order.settings, roles=order.roles, environ=environ, pace=order.pace, dispatcher=PLANTS[order.plant]
    ):
        await stopping.wait()


def begin(order: Order, errors: Path) -> None:
    """What a forked process does, its complaints in a file."""
    with errors.open("ab") as stderr:
        os.dup2(stderr.fileno(), sys.stderr.fileno())
    only_complaints()
    uvloop.run(live(order))


if __name__ == "__main__":
    only_complaints()
    uvloop.run(live(Order(**orjson.loads(sys.argv[1]))))
