"""Every page of recipes, from its first command to its last, on real services and the real tools."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from streams.topics import Topics
from tests.recipes.example import Example, require
from tests.recipes.pages import FOLDER, Cell, cells, play
from tests.support.checkout import ROOT
from tests.support.kafka_reading import committed

pytestmark = pytest.mark.process

FROM_KAFKA = re.compile(r"ENGINE = Kafka\nSETTINGS (?P<settings>[^;]*)")
OF_THE_ENGINE = re.compile(r"kafka_\w+ = '(?P<value>[^']*)',\s*")


def test_the_page_about_files(postgres_example: Example) -> None:
    require("jq")
    play("files.md", postgres_example.shell)


def test_the_page_about_kcat(kafka_example: Example) -> None:
    require("kcat", "jq")
    play("kcat.md", kafka_example.shell)


def test_the_page_about_python(kafka_example: Example) -> None:
    play("python.md", kafka_example.shell)


def test_the_page_about_duckdb(postgres_example: Example) -> None:
    import duckdb  # here, because it is heavy and complains at the end of runs that never use it

    with duckdb.connect() as database:
        database.execute("set file_search_path = ?", [str(postgres_example.folder)])

        def run(cell: Cell) -> str:
            return (
                f"{str(database.sql(cell.text)).rstrip()}\n" if cell.language == "sql" else postgres_example.shell(cell)
            )

        play("duckdb.md", run)


def test_the_page_about_clickhouse(kafka_example: Example) -> None:
    """Its Kafka engine finds no broker inside of a library, so what stands on the topic is inserted where it would."""
    kafka_example.program("export", "--what", "costs", "--out", str(kafka_example.folder / "costs.parquet"))
    statements: list[str] = []
    ends: dict[str, int] = {}
    for cell in (page := cells("clickhouse.md")):
        if FROM_KAFKA.search(cell.text):
            statements += [f"EXPLAIN AST {cell.text}", FROM_KAFKA.sub("ENGINE = Null", cell.text)]
        else:
            statements.append(cell.text)
        ends[cell.text] = len(statements)
        if view := re.search(r"CREATE MATERIALIZED VIEW .*FROM (\w+);", cell.text, re.DOTALL):
            source = next(each.text for each in page if f"CREATE TABLE {view[1]}\n" in each.text)
            statements.append(_records(kafka_example, view[1], source))
    answers = _on_clickhouse(kafka_example, statements)
    play("clickhouse.md", lambda cell: answers[ends[cell.text] - 1])


def _records(example: Example, table: str, declared: str) -> str:
    """What the topic holds, inserted with the format and the settings that the table with the Kafka engine names."""
    engine = FROM_KAFKA.search(declared)
    assert engine
    of_engine = dict(re.findall(r"(kafka_\w+) = '([^']*)'", engine["settings"]))
    topic = of_engine["kafka_topic_list"].replace("toybox", example.prefix, 1)
    assert topic in {each.name for each in Topics.named(example.prefix)}
    assert set(of_engine) == {"kafka_broker_list", "kafka_topic_list", "kafka_group_name", "kafka_format"}
    settings = OF_THE_ENGINE.sub("", engine["settings"]).strip()
    values = b"\n".join(each.value for each in committed(example.broker, topic)).decode()
    return f"INSERT INTO {table} SETTINGS {settings} FORMAT {of_engine['kafka_format']}\n{values}"


def _on_clickhouse(example: Example, statements: list[str]) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.recipes.on_clickhouse"],
        input=json.dumps(statements),
        cwd=example.folder,
        env=example.program.environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_page_is_played_and_the_list_of_pages_names_it() -> None:
    listed = set(re.findall(r"\]\((\w+\.md)\)", (FOLDER / "README.md").read_text("utf-8")))
    pages = {page.name for page in FOLDER.glob("*.md")} - {"README.md"}
    assert listed >= pages
    played = set(re.findall(r'play\("(\w+\.md)"', Path(__file__).read_text("utf-8")))
    assert pages - played == {"flink.md"}  # test_flink.py reads it
