"""The load of bare Postgres: pgbench inserts single rows of the same kind, each in a transaction of its own."""

import re
import subprocess
from pathlib import Path

import psycopg

from adapters.postgres.embedded.binaries import find_binaries
from bench.load.figures import Figures

TABLE = """
create table if not exists bench_rows (
    position bigint generated always as identity primary key, stream_id uuid not null, version integer not null,
    type text not null, schema_version integer not null, project_id uuid, data json not null, actor text not null,
    command_id uuid not null, correlation_id uuid not null, recorded_at timestamptz not null,
    unique (stream_id, version))
"""
INSERT = """
insert into bench_rows (stream_id, version, type, schema_version, data, actor, command_id, correlation_id, recorded_at)
values (gen_random_uuid(), 1, 'counter.added', 1, '{"amount":1}', 'owner', gen_random_uuid(), gen_random_uuid(),
        clock_timestamp());
"""


def run(conninfo: str, folder: Path, *, clients: int, seconds: float) -> Figures:
    """What pgbench says; its latencies are means, so no percentile is reported."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(TABLE.encode())
    script = folder / "insert.sql"
    script.write_text(" ".join(INSERT.split()), encoding="utf-8")
    whole = max(1, round(seconds))
    load = ["--file", script, "--client", str(clients), "--jobs", "2", "--time", str(whole)]
    command = [find_binaries() / "pgbench", "--no-vacuum", "--protocol", "prepared", *load, conninfo]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rate = re.search(r"^tps = ([\d.]+)", said, re.MULTILINE)
    if rate is None:
        raise RuntimeError(f"pgbench did not say how fast it was: {said}")
    return Figures(done=round(float(rate[1]) * whole), seconds=whole)
