"""Plants provider keys in a running installation, and greps all that it ever wrote or said for pieces of them."""

import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import psycopg
from psycopg import sql

from adapters.postgres.embedded import make_data_dir, running_conninfo
from tests.acceptance.product import CARD
from tests.support.checkout import ROOT
from tests.support.vendors.server import VendorServer
from tests.toybox.programs import PATIENCE, Said, Toybox
from toybox.client import Client

PIECE, STEP = 12, 3
"""Every piece of a key that is this long is looked for, from each third character on."""
PLANTED = "planted0Quokka1-Wr7tXq2mZk9vBn4cLs8dHf3jYg6p"
SECOND = "second0Wombat1-Ha5eRu8oTi2yPw6qSx9kDz3mGv7b"
WRONG = "wrong0Numbat1-Jc4nFb7xLq2wVt9sKy5rEh8gMd3z"


def pieces(secret: str) -> Iterator[bytes]:
    """What would give a secret away: parts of it, plain and in the usual disguises."""
    plain = secret.encode()
    yield from (plain[at : at + PIECE] for at in range(0, len(plain) - PIECE + 1, STEP))
    yield plain.hex().encode()
    yield from (base64.b64encode(plain[shift:])[4:-4] for shift in range(3))


def leaks(surfaces: Mapping[str, bytes], secrets: Sequence[str] = (PLANTED, SECOND, WRONG)) -> list[str]:
    """Names of whatever holds a piece of a secret."""
    wanted = [each for secret in secrets for each in pieces(secret)]
    return sorted({name for name, content in surfaces.items() if any(each in content for each in wanted)})


class Talkative(Toybox):
    """The program, with every line of its log."""

    def environment(self, **more: str) -> dict[str, str]:
        return super().environment(TOYBOX_LOG_LEVEL="debug", TOYBOX_LOG_FORMAT="json", **more)

    def told(self, *words: str, secret: str, code: int = 0) -> Said:
        """Run with a secret on standard input."""
        done = subprocess.run(
            [sys.executable, "-m", "toybox", *words],
            cwd=ROOT,
            env=self.environment(),
            input=secret,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == code, f"{words} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return Said(done.stdout, done.stderr)


class Planting:
    """One installation, a vendor, and everything that was said meanwhile."""

    def __init__(self, program: Talkative, vendor: VendorServer, client: Client) -> None:
        self.program = program
        self.vendor = vendor
        self.client = client
        self.said: dict[str, bytes] = {}
        """What went to people: screens, pipes, answers."""

    def run(self, *words: str, secret: str | None = None, code: int = 0) -> Said:
        """A command of the program, remembered."""
        said = (
            self.program(*words, code=code) if secret is None else self.program.told(*words, secret=secret, code=code)
        )
        self.said[f"{len(self.said)} toybox {' '.join(words)}"] = (said.out + said.err).encode()
        return said

    def ask(self, provider: str) -> dict[str, Any]:
        """One job, as it ended."""
        time.sleep(1.1)  # what was changed about keys is known everywhere after a second
        messages = [{"role": "user", "content": "Hello?"}]
        facts = {"provider": provider, "model": "m", "messages": messages, "max_attempts": 1}
        job = self.client.post("/api/llm-jobs", {**facts, "max_output_tokens": 50})["id"]
        until = time.monotonic() + PATIENCE
        while (found := self.client.get(f"/api/llm-jobs/{job}"))["status"] not in ("completed", "failed"):
            assert time.monotonic() < until, f"the job did not end: {found}"
            time.sleep(0.1)
        return found

    def happened(self, *types: str) -> list[dict[str, Any]]:
        """Payloads of these events, in order."""
        with self.connection() as connection:
            rows = connection.execute(
                "select data::text from events where type = any(%s) order by position", [list(types)]
            )
            return [json.loads(text) for (text,) in rows.fetchall()]

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Any]]:
        conninfo = running_conninfo(self.program.data_dir)
        assert conninfo
        with psycopg.connect(conninfo, autocommit=True) as connection:
            yield connection

    # --- everything ---

    def surfaces(self) -> dict[str, bytes]:
        """All that there is to grep, by its name."""
        self.run("doctor")
        self.run("doctor", "--json")
        self.run("provider-keys", "--json")
        self.run("export", "--private", "--unsealed")
        self.run("export", "--what", "costs")
        return {
            **self.said,
            **self.rows(),
            **self.answers(),
            "log": self.program.log.read_bytes(),
            **self.files(),
        }

    def rows(self) -> dict[str, bytes]:
        """Every row of every table, as text."""
        found: dict[str, bytes] = {}
        with self.connection() as connection:
            tables = connection.execute(
                "select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
                " where c.relkind in ('r', 'm') and n.nspname not in ('pg_catalog', 'information_schema')"
            ).fetchall()
            for schema, name in tables:
                query = sql.SQL("select t::text from {} t").format(sql.Identifier(schema, name))
                found[f"table {name}"] = "\n".join(text for (text,) in connection.execute(query)).encode()
        return found

    def answers(self) -> dict[str, bytes]:
        """What every GET answers that needs no parameter, and each job and key."""
        document = self.client.get("/openapi.json")
        paths = [path for path, methods in document["paths"].items() if "get" in methods and "{" not in path]
        endless = {"/api/events"}
        paths = [path for path in paths if path not in endless]
        for path in ("/api/llm-jobs", "/api/api-keys"):
            paths += [f"{path}/{each['id'] if 'id' in each else each['job_id']}" for each in self.client.pages(path)]
        return {f"GET {path}": self._body(path) for path in paths}

    def _body(self, path: str) -> bytes:
        answer = self.client._http.get(path)
        assert answer.status_code < 500, f"{path}: {answer.status_code}"
        return answer.content + str(answer.headers).encode()

    def files(self) -> dict[str, bytes]:
        """Every file of the data directory: the database's own, with what it was about to write, and all others."""
        with self.connection() as connection:
            connection.execute("checkpoint")
        return {
            f"file {path.relative_to(self.program.data_dir)}": path.read_bytes()
            for path in sorted(self.program.data_dir.rglob("*"))
            if path.is_file()
        }


@contextmanager
def planted(folder: Path) -> Iterator[Planting]:
    """A server whose log is complete, with a vendor of either protocol."""
    program = Talkative(folder)
    prices = make_data_dir(program.data_dir) / "prices"
    prices.mkdir()
    for name in ("vendor", "other"):
        (prices / f"{name}.json").write_bytes(orjson.dumps({**CARD, "provider": name}))
    with VendorServer(key=PLANTED) as vendor, program.up():
        key = (program.data_dir / "owner.key").read_text().strip()
        with Client(program.address["url"], key) as client:
            config = {"base_url": vendor.openai_url, "key_env": "NOBODY_SETS_THIS"}
            client.post("/api/ai-providers", {"name": "vendor", "kind": "openai_compatible", "config": config})
            other = {"base_url": vendor.base_url, "key_env": "NOBODY_SETS_THIS"}
            client.post("/api/ai-providers", {"name": "other", "kind": "anthropic", "config": other})
            yield Planting(program, vendor, client)
