"""Access keys as their owner sees them: enough to tell them apart, nothing that opens anything."""

from datetime import timedelta

from commands.identity.access_keys import IssueAccessKey, RevokeAccessKey, RotateAccessKey
from domain.identity.access_keys import AccessKey
from domain.identity.tokens import access_key_id
from projections.identity.access_keys import AccessKeys, AccessKeyView, access_keys
from projections.projector import Connections, reading, rebuild
from tests.projections.playing import Play
from tests.projections.town import busy
from tests.support.projections import built
from tests.support.story import telling

PERMISSIONS = ("projects.create", "projects.start")


async def test_keys_are_listed_the_newest_first_with_what_became_of_them(connections: Connections) -> None:
    async with telling() as story:
        play = Play(story)
        until = story.clock.now + timedelta(days=1)
        facts = {"prefix": "tbx_abcdef", "permissions": PERMISSIONS}
        await play.do(IssueAccessKey(key_hash="1" * 64, label="one", **facts))
        story.clock.advance(1)
        await play.do(IssueAccessKey(key_hash="2" * 64, label="two", expires_at=until, **facts))
        story.clock.advance(1)
        one, two = access_key_id("1" * 64), access_key_id("2" * 64)
        await play.do(RotateAccessKey(key_id=two, key_hash="3" * 64, **facts), RevokeAccessKey(key_id=one))
        await rebuild(connections, story.store, AccessKeys())
        async with reading(connections, AccessKeys) as read:
            shown = [row.view for row in (await access_keys(read.connection)).items]
            assert [each.label for each in shown] == ["two", "two", "one"]
            assert (shown[0].replaces, shown[1].successor) == (two, shown[0].id)
            assert [each.status(story.clock.now) for each in shown] == ["valid", "valid", "revoked"]
            assert shown[1].status(until) == "expired"
            assert (shown[2].revoked_by, shown[2].issued_by, shown[2].permissions) == ("owner", "owner", PERMISSIONS)
            left = await access_keys(read.connection, revoked=False)
            assert [row.view.label for row in left.items] == ["two", "two"]


async def test_no_hash_of_a_key_is_shown(connections: Connections) -> None:
    hashes = [each.key_hash for each in busy().all(AccessKey).values()]
    assert hashes
    for rows in (await built(connections, AccessKeys(), busy().events)).values():
        assert not [row for row in rows if any(each in row for each in hashes)]


async def test_every_key_of_a_town_agrees_with_its_aggregate() -> None:
    for stream, known in busy().all(AccessKey).items():
        view = await busy().fold(AccessKeys, stream, None)
        assert isinstance(view, AccessKeyView)
        assert (view.label, list(view.permissions), view.expires_at, view.revoked_by, view.successor) == (
            known.label,
            known.permissions,
            known.expires_at,
            known.revoked_by,
            known.successor,
        )
