"""How the tests use, watch and kill an embedded server."""

import asyncio
import json
import os
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict

from adapters.postgres.embedded.account import ServerAccount

ROOT = os.geteuid() == 0
REPOSITORY = Path(__file__).parents[3]


@dataclass(frozen=True)
class Standing:
    """A server that the tests only look at."""

    data_dir: Path
    pid: int
    conninfo: str

    def ask(self, query: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.conninfo) as connection:
            return connection.execute(query.encode()).fetchall()


async def write(conninfo: str, word: str) -> None:
    async with await AsyncConnection.connect(conninfo) as connection:
        await connection.execute("CREATE TABLE IF NOT EXISTS kept (word text)")
        await connection.execute("INSERT INTO kept VALUES (%s)", [word])


async def read(conninfo: str) -> list[str]:
    async with await AsyncConnection.connect(conninfo) as connection:
        return [word for (word,) in await (await connection.execute("SELECT word FROM kept ORDER BY word")).fetchall()]


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another process
            await asyncio.sleep(0.005)


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def renamed(folder: Path, name: str) -> Path:
    return folder.rename(folder.with_name(name))


def folder_of_the_socket(conninfo: str) -> Path:
    return Path(str(conninfo_to_dict(conninfo)["host"]))


async def answers(question: Callable[[], Awaitable[list[str]]], seconds: float = 20) -> list[str]:
    async with asyncio.timeout(seconds):
        while True:
            try:
                return await question()
            except psycopg.OperationalError:
                await asyncio.sleep(0.05)


@contextmanager
def another_toybox(data_dir: Path, kind: str, *account: int) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    command = [sys.executable, "-m", "tests.adapters.embedded.child", str(data_dir), kind, *map(str, account)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        try:
            said = json.loads(child.stdout.readline())
            yield child, said["pid"], said["conninfo"]
        finally:
            child.terminate()


@contextmanager
def a_stranger(uid: int, gid: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the server's account that has nothing to do with the server."""
    account = ServerAccount(name="", uid=uid, gid=gid, is_ours=not ROOT)
    with subprocess.Popen(["/bin/sleep", "60"], **account.credentials) as stranger:
        yield stranger
        stranger.kill()
