"""`toybox export` from the command line: pipes, files, what is left behind, and how it goes on."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.postgres import server_folder
from tests.toybox.programs import Toybox, ended, wait_for

pytestmark = pytest.mark.process
WENT_TO = re.compile(r"positions (\d+) to (\d+), ([\d,]+) bytes; go on with --from (\d+)")


@pytest.fixture(scope="module")
def exported() -> Iterator[Toybox]:
    """A server with one finished project."""
    with server_folder() as folder:
        program = Toybox(folder)
        with program.up():
            program("run", str(program.blueprint), "--approve", "auto", "--json", "--name", "tides")
            yield program


def test_a_pipe_gets_whole_lines_and_the_summary_goes_elsewhere(exported: Toybox) -> None:
    said = exported("export")
    told = WENT_TO.search(said.last_words)
    assert told
    assert said.last_words.startswith(f"{len(said.json)} events, positions 1 to")
    assert told[2] == told[4]
    assert int(told[3].replace(",", "")) == len(said.out.encode())
    assert {each["specversion"] for each in said.json} == {"1.0"}
    assert not any(each["type"].startswith("toybox.access_key") for each in said.json)


def test_an_export_goes_on_where_the_last_one_ended(exported: Toybox) -> None:
    first = exported("export", "--to", "20")
    rest = exported("export", "--from", "20")
    assert "go on with --from 20" in first.last_words
    assert first.out + rest.out == exported("export").out


def test_a_project_and_types_are_chosen_by_name(exported: Toybox) -> None:
    said = exported("export", "--project", "tides", "--type", "agent.completed")
    assert {each["type"] for each in said.json} == {"toybox.agent.completed.v1"}
    assert exported("export", "--project", "moons", code=3).last_words.startswith("toybox: there is no project moons")


def test_parquet_holds_the_same_in_columns_of_the_right_types(exported: Toybox, tmp_path: Path) -> None:
    costs, events = tmp_path / "costs.parquet", tmp_path / "events.parquet"
    exported("export", "--what", "costs", "--out", str(costs))
    exported("export", "--out", str(events))
    facts = exported("export", "--what", "costs").json
    table = pq.read_table(costs)
    assert table.schema.field("delta").type == pa.decimal128(28, 12)
    assert table.schema.field("recorded_at").type == pa.timestamp("us", tz="UTC")
    assert table["delta"].to_pylist() == [Decimal(each["delta"]) for each in facts]
    assert set(table.column_names) == set(facts[0])
    assert table["recorded_at"][0].as_py().utcoffset() == timedelta(0)
    lines = exported("export").json
    table = pq.read_table(events)
    assert set(table.column_names) == set().union(*lines) - {"specversion", "datacontenttype"} | {"traceid"}
    assert [json.loads(each) for each in table["data"].to_pylist()] == [each["data"] for each in lines]
    assert table["position"].to_pylist() == [int(each["position"]) for each in lines]
    assert table.schema.metadata[b"toybox.what"] == b"events"


def test_what_cannot_be_written_is_said_and_leaves_what_was_there(exported: Toybox, tmp_path: Path) -> None:
    there = tmp_path / "kept.ndjson"
    there.write_text("precious")
    exported("export", "--to", "999999", "--out", str(there), code=3)
    assert there.read_text() == "precious"
    assert exported("export", "--out", str(tmp_path / "no" / "where"), code=3).last_words.endswith(
        "choose another place"
    )
    assert "is no file" in exported("export", "--out", str(tmp_path), code=3).last_words
    assert "is no file" in exported("export", "--out", "/dev/null", code=3).last_words
    assert "--out" in exported("export", "--format", "parquet", code=2).last_words
    assert "about events" in exported("export", "--what", "costs", "--private", code=2).last_words
    assert sorted(each.name for each in tmp_path.iterdir()) == ["kept.ndjson"]


def test_without_pyarrow_it_says_how_to_get_it(exported: Toybox, tmp_path: Path) -> None:
    (tmp_path / "pyarrow.py").write_text("raise ImportError")
    said = exported("export", "--out", str(tmp_path / "x.parquet"), code=3, PYTHONPATH=str(tmp_path))
    assert "pip install 'toybox[analytics]'" in said.last_words
    assert not (tmp_path / "x.parquet").exists()


def test_who_has_read_enough_ends_it_without_a_complaint(exported: Toybox) -> None:
    with exported.started("export") as process:
        assert process.stdout
        process.stdout.readline()
        process.stdout.close()
        process.wait(30)
        assert process.stderr
        assert "Traceback" not in process.stderr.read()


def test_ctrl_c_leaves_nothing_half_written(exported: Toybox, tmp_path: Path) -> None:
    """It is stopped while the file is being written: its name in the folder is that of something unfinished."""
    folder = tmp_path / "out"
    folder.mkdir()
    with exported.started(
        "export", "--out", str(folder / "e.ndjson"), environment={"PYTHONPATH": str(slow(tmp_path))}
    ) as process:
        wait_for_one(folder, process)
        assert [each.suffix for each in folder.iterdir()] == [".part"]
        ended(process, signal.SIGINT)
    assert process.returncode == 130
    assert not list(folder.iterdir())


def slow(folder: Path) -> Path:
    """A place for Python to look in first, where reading lines from a server takes long."""
    (folder / "sitecustomize.py").write_text(
        "import time, httpx\n"
        "plain = httpx.Response.iter_bytes\n"
        "def iter_bytes(self, *given):\n"
        "    for block in plain(self, *given):\n"
        "        yield block\n"
        "        time.sleep(30)\n"
        "httpx.Response.iter_bytes = iter_bytes\n"
    )
    return folder


def wait_for_one(folder: Path, process: "subprocess.Popen[str]") -> None:
    wait_for(lambda: any(folder.iterdir()) or process.poll() is not None)
