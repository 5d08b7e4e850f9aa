"""Providers as they are shown: how each is reached, and which were removed."""

from commands.providers import ConfigureProvider, RegisterProvider, RemoveProvider
from domain.providers import Provider, ProviderConfig
from projections.projector import Connections, reading, rebuild
from projections.providers import Providers, ProviderView, providers
from tests.projections.playing import Play
from tests.projections.town import busy
from tests.support.story import telling


async def test_providers_are_listed_by_name_and_removed_ones_apart(connections: Connections) -> None:
    async with telling() as story:
        play = Play(story)
        local = ProviderConfig(base_url="http://127.0.0.1:8000/v1", models=["tiny"])
        await play.do(
            RegisterProvider(name="scripted", kind="scripted"),
            RegisterProvider(name="local", kind="openai_compatible", config=local),
            RegisterProvider(name="old", kind="scripted"),
            RemoveProvider(name="old"),
            ConfigureProvider(name="scripted", config=ProviderConfig(timeout_seconds=5, key_env="SOME_KEY")),
        )
        await rebuild(connections, story.store, Providers())
        async with reading(connections, Providers) as read:
            shown = {row.view.name: row.view for row in (await providers(read.connection)).items}
            assert list(shown) == ["local", "scripted"]
            assert (shown["local"].base_url, shown["local"].models) == ("http://127.0.0.1:8000/v1", ("tiny",))
            assert (shown["scripted"].timeout_seconds, shown["scripted"].key_env) == (5, "SOME_KEY")
            assert shown["scripted"].version == 2
            removed = await providers(read.connection, removed=True)
            assert [row.view.name for row in removed.items] == ["old"]


async def test_a_provider_that_is_registered_again_is_another_kind() -> None:
    async with telling() as story:
        play = Play(story)
        await play.do(
            RegisterProvider(name="one", kind="scripted"),
            RemoveProvider(name="one"),
            RegisterProvider(name="one", kind="openai"),
        )
        (stream,) = play.all(Provider)
        view = await play.fold(Providers, stream, None)
        assert isinstance(view, ProviderView)
        assert (view.kind, view.status, view.version) == ("openai", "registered", 3)


async def test_every_provider_of_a_town_agrees_with_its_aggregate() -> None:
    for stream, known in busy().all(Provider).items():
        view = await busy().fold(Providers, stream, None)
        assert isinstance(view, ProviderView)
        assert (view.name, view.kind, view.status) == (known.name, known.kind, known.status)
        assert view.timeout_seconds == known.config.timeout_seconds
