"""The registry of providers: how they are reached, without a secret ever entering the log."""

from typing import Any

import pytest

from commands.providers import ConfigureProvider, RegisterProvider, RemoveProvider
from domain.errors import Conflict, NotFound, Refused
from domain.ids import provider_id
from domain.providers import Provider, ProviderConfig
from tests.support.story import Story

LOCAL = ProviderConfig(base_url="http://127.0.0.1:8000/v1", models=["llama"], timeout_seconds=120)


def registered(
    kind: str = "openai_compatible", config: ProviderConfig = LOCAL, name: str = "local"
) -> RegisterProvider:
    return RegisterProvider.model_validate({"name": name, "kind": kind, "config": config})


async def test_a_provider_is_registered_once_by_its_name(story: Story) -> None:
    await story.when(registered())
    assert story.then("provider.registered") == [
        {
            "name": "local",
            "kind": "openai_compatible",
            "base_url": "http://127.0.0.1:8000/v1",
            "key_env": None,
            "models": ["llama"],
            "timeout_seconds": 120,
        }
    ]
    await story.when(registered())
    story.then_refused(Conflict, saying="configure it instead")


async def test_the_vendors_need_no_address(story: Story) -> None:
    await story.when(registered("openai", ProviderConfig(key_env="OPENAI_API_KEY"), "openai"))
    story.then("provider.registered")
    await story.when(registered("openai_compatible", ProviderConfig()))
    story.then_refused(Refused, code="base_url_needed")


async def test_a_configuration_is_replaced_whole(story: Story) -> None:
    await story.given(registered())
    await story.when(ConfigureProvider(name="local", config=ProviderConfig(base_url="https://models.example/v1")))
    assert story.then("provider.configured") == [
        {"base_url": "https://models.example/v1", "key_env": None, "models": [], "timeout_seconds": 600}
    ]
    await story.when(ConfigureProvider(name="local", config=ProviderConfig(base_url="https://models.example/v1")))
    story.then()
    await story.when(ConfigureProvider(name="local", config=ProviderConfig()))
    story.then_refused(Refused, code="base_url_needed")
    provider = story.state(Provider, provider_id("local"))
    assert Provider.from_snapshot(provider.id, provider.version, provider.snapshot()) == provider


async def test_a_removed_provider_comes_back_by_registering_it_again(story: Story) -> None:
    await story.given(registered())
    await story.when(RemoveProvider(name="local"))
    assert story.then("provider.removed") == [{}]
    for refused in (RemoveProvider(name="local"), ConfigureProvider(name="local", config=LOCAL)):
        await story.when(refused)
        story.then_refused(Refused, code="provider_removed")
    await story.when(registered("scripted", ProviderConfig()))
    assert story.then("provider.restored")[0]["kind"] == "scripted"
    assert story.state(Provider, provider_id("local")).status == "registered"


async def test_a_provider_that_nobody_registered_is_not_found(story: Story) -> None:
    await story.when(RemoveProvider(name="nobody"))
    story.then_refused(NotFound)


@pytest.mark.parametrize(
    "address",
    [
        "ftp://host/v1",
        "host:8000/v1",
        "http://",
        "http://[::1",
        "http://host:port/v1",
        "http://ho st/v1",
        "https://user:word@host/v1",
        "https://host/v1?token=1",
        "https://host/v1#part",
    ],
)
async def test_an_address_that_cannot_be_called_or_could_hide_a_secret_is_refused(story: Story, address: str) -> None:
    await story.when(registered(config=ProviderConfig(base_url=address)))
    story.then_refused(Refused, code="invalid_base_url", saying="base_url")


@pytest.mark.parametrize(
    "where",
    [
        {"key_env": "sk-proj-abcdefgh12345678"},
        {"key_env": "sk_live_abcdefgh12345678"},
        {"base_url": "https://host/sk-ant-abcdefgh12345678/v1"},
        {"models": ["good", "AIzaSyabcdefghijk"]},
        {"models": ["0123456789abcdef0123456789abcdef01234567"]},
    ],
)
async def test_what_looks_like_a_key_is_refused_and_not_repeated(story: Story, where: dict[str, Any]) -> None:
    config = ProviderConfig.model_validate(where)
    await story.when(registered("openai", config))
    refusal = story.then_refused(Refused, code="secret_refused", saying="environment variable")
    assert "abcdefgh" not in str(refusal)
    await story.given(registered())
    await story.when(ConfigureProvider(name="local", config=config))
    story.then_refused(Refused, code="secret_refused")


@pytest.mark.parametrize("name", ["openai_api_key", "1KEY", "MY KEY", "KEY-1"])
async def test_the_key_is_named_by_its_variable(story: Story, name: str) -> None:
    await story.when(registered("openai", ProviderConfig(key_env=name)))
    refusal = story.then_refused(Refused, code="invalid_key_env")
    assert name not in str(refusal)


@pytest.mark.parametrize("model", ["task-model-12345678", "risk-assessor-large", "gpt-6-astra-2026-10-01"])
async def test_an_ordinary_model_is_not_taken_for_a_key(story: Story, model: str) -> None:
    await story.when(registered(config=ProviderConfig(base_url="http://127.0.0.1/v1", models=[model])))
    story.then("provider.registered")
