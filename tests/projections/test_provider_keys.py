"""Provider keys as their owner sees them: how they end, what became of them, nothing that opens anything."""

from uuid import UUID

from commands.provider_keys import EndKeyOverlap, NoteKeyUse, RevokeProviderKey, RotateProviderKey, StoreProviderKey
from domain.ids import provider_key_id
from domain.provider_keys import ProviderKey
from projections.projector import Connections, reading, rebuild
from projections.provider_keys import ProviderKeys, ProviderKeyView, provider_keys
from tests.projections.playing import Play
from tests.projections.town import busy
from tests.support.story import telling


async def test_keys_are_listed_the_newest_first_with_what_became_of_them(connections: Connections) -> None:
    async with telling() as story:
        play = Play(story)

        def kept(number: int) -> dict[str, object]:
            facts = {"kept_at": story.clock.now, "last_four": f"key{number}", "fingerprint": f"{number:064x}"}
            return {"secret_id": UUID(int=number), **facts}

        openai, anthropic = provider_key_id("openai", "default"), provider_key_id("anthropic", "team")
        await play.do(StoreProviderKey.model_validate(kept(1) | {"provider": "openai"}))
        await play.do(NoteKeyUse(key_id=openai, secret_id=UUID(int=1)))
        story.clock.advance(1)
        await play.do(StoreProviderKey.model_validate(kept(2) | {"provider": "anthropic", "label": "team"}))
        await play.do(RotateProviderKey.model_validate(kept(3) | {"key_id": openai, "overlap_seconds": 60}))
        await play.do(RevokeProviderKey(key_id=anthropic))
        until = story.clock.now.replace(second=story.clock.now.second)
        await rebuild(connections, story.store, ProviderKeys())
        async with reading(connections, ProviderKeys) as read:
            newest, oldest = [row.view for row in (await provider_keys(read.connection)).items]
            assert (newest.provider, newest.label, newest.status(until)) == ("anthropic", "team", "revoked")
            assert (newest.revoked_by, newest.version) == ("owner", 2)
            assert (oldest.current.last_four, oldest.current.first_used_at, oldest.status(until)) == (
                "key3",
                None,
                "rotating",
            )
            assert oldest.old
            assert (oldest.old.last_four, oldest.old.first_used_at is None) == ("key1", False)
            assert oldest.old_until
            assert oldest.status(oldest.old_until) == "stored"
            only = await provider_keys(read.connection, provider="openai")
            assert [row.key for row in only.items] == [openai]
            assert [row.key for row in (await provider_keys(read.connection, revoked=False)).items] == [openai]
        story.clock.advance(60)
        await play.do(EndKeyOverlap(key_id=openai, secret_id=UUID(int=1)))
        await play.do(StoreProviderKey.model_validate(kept(4) | {"provider": "anthropic", "label": "team"}))
        view = await play.fold(ProviderKeys, openai, None)
        assert isinstance(view, ProviderKeyView)
        assert view.old is None
        again = await play.fold(ProviderKeys, anthropic, None)
        assert isinstance(again, ProviderKeyView)
        assert (again.current.last_four, again.revoked_at, again.status(story.clock.now)) == ("key4", None, "stored")


async def test_every_key_of_a_town_agrees_with_its_aggregate() -> None:
    keys = busy().all(ProviderKey)
    assert keys
    for stream, known in keys.items():
        view = await busy().fold(ProviderKeys, stream, known.project_id)
        assert isinstance(view, ProviderKeyView)
        assert (view.provider, view.label, view.project_id) == (known.provider, known.label, known.project_id)
        assert view.current.secret_id == known.current.secret_id
        assert (view.current.first_used_at is not None) == known.current.used
        assert (view.old and view.old.secret_id) == (known.old and known.old.secret_id)
        assert (view.revoked_at is not None) == (known.status == "revoked")
