"""A vendor server for each test, and the two adapters that talk to it through the vendors' SDKs."""

from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from pydantic import SecretStr

from adapters.llm.anthropic import AnthropicModel
from adapters.llm.openai import OpenAIModel
from commands.models import LanguageModel
from tests.support.vendors.server import VendorServer

Make = Callable[..., LanguageModel]


@pytest.fixture
def vendor(loopback: str) -> Iterator[VendorServer]:
    with VendorServer() as server:
        yield server


def openai_model(server: VendorServer, *, key: str | None = None, url: str | None = None) -> OpenAIModel:
    return OpenAIModel(api_key=SecretStr(key or server.key or ""), base_url=url or server.openai_url)


def anthropic_model(server: VendorServer, *, key: str | None = None, url: str | None = None) -> AnthropicModel:
    return AnthropicModel(api_key=SecretStr(key or server.key or ""), base_url=url or server.base_url)


@pytest.fixture(params=[openai_model, anthropic_model], ids=["openai", "anthropic"])
def make(request: pytest.FixtureRequest) -> Make:
    """Makes the adapter of one vendor: every test that asks for it runs once for each."""
    return request.param


@pytest.fixture
async def model(make: Make, vendor: VendorServer) -> AsyncIterator[LanguageModel]:
    made = make(vendor)
    yield made
    await made.aclose()
