"""Recorded answers: what a vendor said comes back without it, failures too, and no key is in the files."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from adapters.llm.recording import RecordingModel, ReplayingModel, Responses
from adapters.llm.registry import ModelRegistry
from commands.models import LanguageModel, Message, ModelError, ModelReply, ModelRequest, TextDelta
from commands.providers import RegisterProvider
from domain.errors import Refused
from domain.pricing import Conditions
from domain.providers import ProviderConfig, ProviderKind
from tests.support.story import telling
from tests.support.vendors.server import VendorServer

SECRET = "plantedKey-recording-0123456789"
PROTOCOLS: tuple[ProviderKind, ...] = ("openai_compatible", "anthropic")


@pytest.fixture
def vendor(loopback: str) -> Iterator[VendorServer]:
    with VendorServer(key=SECRET) as server:
        yield server


@asynccontextmanager
async def model_of(vendor: VendorServer, kind: ProviderKind, mode: str, folder: Path) -> AsyncIterator[LanguageModel]:
    """A provider as a worker gets it; without its key where nothing needs it."""
    async with telling() as story:
        url = vendor.base_url if kind == "anthropic" else vendor.openai_url
        config = ProviderConfig(base_url=url, key_env="VENDOR_KEY")
        await story.send(RegisterProvider(name="vendor", kind=kind, config=config))
        environ = {} if mode == "replay" else {"VENDOR_KEY": SECRET}
        responses = Responses.parse("live" if mode == "live" else f"{mode}:{folder}")
        registry = ModelRegistry(story.store, environ, now=story.clock, responses=responses)
        yield await registry.get("vendor")
        await registry.aclose()


def asking(text: str = "Hello?") -> ModelRequest:
    """As another attempt each time."""
    return ModelRequest(uuid4(), "m", (Message("user", text),), 50, None, time.monotonic() + 10)


async def streamed(model: LanguageModel, request: ModelRequest) -> tuple[list[str], ModelReply]:
    """The pieces and the reply."""
    said = [piece async for piece in model.stream(request)]
    reply = said.pop()
    assert isinstance(reply, ModelReply)
    return [piece.text for piece in said if isinstance(piece, TextDelta)], reply


def recordings(folder: Path) -> list[Path]:
    """One for each call."""
    return sorted(folder.rglob("*.json"))


@pytest.mark.parametrize("kind", PROTOCOLS)
async def test_what_was_recorded_comes_back_without_vendor_and_key(
    vendor: VendorServer, kind: ProviderKind, tmp_path: Path
) -> None:
    async with model_of(vendor, kind, "record", tmp_path) as model:
        pieces, reply = await streamed(model, asking())
        whole = await model.complete(asking("In one piece?"))
        conditions = model.conditions(asking())
    asked = len(vendor.entries())
    async with model_of(vendor, kind, "replay", tmp_path) as model:
        assert await streamed(model, asking()) == (pieces, reply)
        assert await model.complete(asking("In one piece?")) == whole
        assert model.conditions(asking()) == conditions
    assert len(pieces) > 1
    assert reply.usage is not None
    assert len(vendor.entries()) == asked
    files = [path.read_text() for path in recordings(tmp_path)]
    assert len(files) == 2
    assert not any(SECRET in text for text in files)


async def test_equal_requests_are_answered_in_their_order_and_the_last_answer_stays(
    vendor: VendorServer, tmp_path: Path
) -> None:
    vendor.behave("answer", text="first")
    vendor.behave("overloaded")
    vendor.behave("answer", text="third")
    async with model_of(vendor, "openai_compatible", "record", tmp_path) as model:
        assert (await model.complete(asking())).text == "first"
        with pytest.raises(ModelError) as overloaded:
            await model.complete(asking())
        assert (await model.complete(asking())).text == "third"
    async with model_of(vendor, "openai_compatible", "replay", tmp_path) as model:
        assert (await model.complete(asking())).text == "first"
        with pytest.raises(ModelError) as again:
            await model.complete(asking())
        assert [(await model.complete(asking())).text for _ in range(3)] == ["third"] * 3
    assert (str(again.value), again.value.kind, again.value.sent) == (
        str(overloaded.value),
        overloaded.value.kind,
        overloaded.value.sent,
    )


async def test_a_request_without_a_recording_is_refused_with_what_to_do(vendor: VendorServer, tmp_path: Path) -> None:
    async with model_of(vendor, "anthropic", "replay", tmp_path) as model:
        with pytest.raises(ModelError, match=r"holds no recording .* TOYBOX_MODEL_RESPONSES=record:") as missing:
            await model.complete(asking())
    assert (missing.value.kind, missing.value.sent) == ("invalid_request", False)
    assert not vendor.entries()


async def test_a_file_that_is_no_recording_is_named(vendor: VendorServer, tmp_path: Path) -> None:
    async with model_of(vendor, "anthropic", "record", tmp_path) as model:
        await model.complete(asking())
    recordings(tmp_path)[0].write_text('{"asked": 1}')
    async with model_of(vendor, "anthropic", "replay", tmp_path) as model:
        with pytest.raises(ModelError, match=r"1\.json is no recording .*: delete it"):
            await model.complete(asking())


async def test_an_answer_that_cannot_be_recorded_is_given_all_the_same(vendor: VendorServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    async with model_of(vendor, "anthropic", "record", tmp_path / "file") as model:
        assert (await model.complete(asking())).text


async def test_a_live_installation_asks_for_the_key(vendor: VendorServer, tmp_path: Path) -> None:
    async with telling() as story:
        config = ProviderConfig(base_url=vendor.base_url, key_env="VENDOR_KEY")
        await story.send(RegisterProvider(name="vendor", kind="anthropic", config=config))
        registry = ModelRegistry(story.store, {}, now=story.clock)
        with pytest.raises(Refused, match="has no key"):
            await registry.get("vendor")


@pytest.mark.parametrize("said", ["", "record", "replay:", "tape:/somewhere", "live:/somewhere"])
def test_a_setting_that_means_nothing_is_refused_with_those_that_do(said: str) -> None:
    with pytest.raises(ValueError, match="is none of these: live, record:FOLDER, replay:FOLDER"):
        Responses.parse(said)


class Halved:
    """Cuts its answer in the middle of a character, as some servers do."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[TextDelta | ModelReply, None]:
        for piece in ("Well ", "\ud83d", "\ude00"):
            yield TextDelta(piece)
        yield ModelReply("Well \U0001f600", request.model, "id", "stop", None)

    async def complete(self, request: ModelRequest) -> ModelReply:
        return ModelReply("Well", request.model, "i\ud83d", "stop", None)

    def conditions(self, request: ModelRequest) -> Conditions:
        return Conditions()

    async def aclose(self) -> None:
        """It holds nothing."""


async def test_pieces_that_were_cut_in_the_middle_of_a_character_are_recorded_whole(tmp_path: Path) -> None:
    asked = asking()
    pieces, reply = await streamed(RecordingModel("vendor", Halved(), tmp_path), asked)
    assert (pieces, reply.text) == (["Well ", "\ud83d", "\ude00"], "Well \U0001f600")
    again = await streamed(ReplayingModel("vendor", Halved(), tmp_path), asked)
    assert again == (["Well \U0001f600"], reply)


async def test_an_answer_that_no_file_can_hold_is_given_all_the_same_and_leaves_none(tmp_path: Path) -> None:
    assert (await RecordingModel("vendor", Halved(), tmp_path).complete(asking())).text == "Well"
    assert recordings(tmp_path) == []
