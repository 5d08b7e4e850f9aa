"""The vendor server itself: a process of its own whose journal survives everybody's death."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from adapters.llm.openai import OpenAIModel
from commands.models import ModelError
from tests.adapters.llm.vendors.asking import request, whole
from tests.support.vendors.app import BEHAVIOURS_PATH, JOURNAL_PATH, KEY
from tests.support.vendors.journal import read_journal
from tests.support.vendors.server import VendorServer

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[3]


def asks(port: int, path: str, method: str = "GET", body: object = None):
    url = f"http://127.0.0.1:{port}{path}"
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, method=method)) as answer:
        return json.load(answer)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def process(file: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.support.vendors", "--port", "0", "--journal", str(file)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as started:
        yield started
        started.kill()


async def test_its_journal_is_in_the_file_when_it_is_killed(process: subprocess.Popen[str], file: Path):
    assert process.stdout is not None
    port = int(process.stdout.readline())
    asks(port, BEHAVIOURS_PATH, "POST", [{"kind": "overloaded", "when": "second", "times": 1}])
    model = OpenAIModel(api_key=SecretStr(KEY), base_url=f"http://127.0.0.1:{port}/v1")
    first, second = request("the first"), request("the second")
    assert (await whole(model, first)).usage
    with pytest.raises(ModelError):
        await whole(model, second)
    await model.aclose()
    assert [entry["behaviour"] for entry in asks(port, JOURNAL_PATH)] == ["answer", "overloaded"]
    process.kill()
    entries = read_journal(file)
    assert [entry["attempt_id"] for entry in entries] == [str(first.attempt_id), str(second.attempt_id)]
    assert entries[0]["usage"]["completion_tokens"] > 0


def test_a_behaviour_waits_for_the_request_it_is_meant_for(loopback: str):
    with VendorServer() as server:
        server.behave("cut", when="special", times=2)
        server.behave("quota", times=-1)
        kinds = [server.script.take(text).kind for text in ("plain", "special", "plain", "special", "special")]
    assert kinds == ["quota", "cut", "quota", "cut", "quota"]
