"""Stories of provider keys: stored, rotated with an overlap, revoked; the log never holds what opens anything."""

from uuid import UUID

import pytest
from pydantic import SecretStr, ValidationError

from commands.handling import Principal
from commands.projects import CreateProject
from commands.provider_keys import EndKeyOverlap, NoteKeyUse, RevokeProviderKey, RotateProviderKey, StoreProviderKey
from domain.errors import Conflict, NotAllowed, NotFound, Refused
from domain.ids import provider_key_id
from domain.kernel import EVENT_TYPES
from domain.provider_keys import ProviderKey, check_secret, last_four
from tests.support.story import Story

KEY = provider_key_id("openai", "default")


def secret(number: int = 1) -> UUID:
    return UUID(int=number)


def store(story: Story, number: int = 1, **more: object) -> StoreProviderKey:
    """A key whose secret was kept this moment."""
    facts = {"secret_id": secret(number), "kept_at": story.clock.now, "last_four": "abcd"}
    return StoreProviderKey.model_validate(facts | {"fingerprint": f"{number:064x}", "provider": "openai"} | more)


def rotate(story: Story, number: int = 2, **more: object) -> RotateProviderKey:
    facts = {"secret_id": secret(number), "kept_at": story.clock.now, "last_four": "efgh"}
    return RotateProviderKey.model_validate(facts | {"fingerprint": f"{number:064x}", "key_id": KEY} | more)


def live(story: Story) -> list[UUID]:
    return list(story.state(ProviderKey, KEY).live(story.clock.now))


async def test_a_key_is_stored_by_its_last_four_and_its_fingerprint(story: Story) -> None:
    await story.when(store(story))
    assert story.then("provider_key.stored") == [
        {
            "provider": "openai",
            "label": "default",
            "project_id": None,
            "secret_id": str(secret(1)),
            "last_four": "abcd",
            "fingerprint": f"{1:064x}",
            "by": "owner",
        }
    ]
    assert story.answer
    assert story.answer.subject == KEY
    assert live(story) == [secret(1)]


def test_nothing_about_provider_keys_leaves_the_database() -> None:
    own = [kind for name, kind in EVENT_TYPES.items() if name.startswith("provider_key.")]
    assert len(own) == 6
    assert all(kind.PRIVATE for kind in own)


def test_no_command_has_a_field_for_the_key_itself() -> None:
    for command in (store, rotate):
        with pytest.raises(ValidationError, match="key\n  Extra inputs"):
            command(Story(), key="sk-12345678")


async def test_a_label_is_taken_once_and_others_stand_beside_it(story: Story) -> None:
    await story.given(store(story), store(story, 2, label="team-b"), store(story, 3, provider="anthropic"))
    await story.when(store(story, 4))
    story.then_refused(Conflict, code="provider_key_exists", saying="toybox provider-keys rotate")


async def test_a_repeated_request_is_known_although_its_secret_was_kept_anew(story: Story) -> None:
    await story.send(store(story), key="k")
    story.clock.advance(1)
    again = await story.send(store(story, secret_id=secret(9)), key="k")
    assert again.repeated
    await story.when(store(story, fingerprint=f"{7:064x}"), key="k")
    story.then_refused(Refused, code="idempotency_key_reused")


async def test_a_key_for_one_project_belongs_to_it(story: Story) -> None:
    project = story.id("project")
    await story.when(store(story, project_id=project))
    story.then_refused(NotFound)
    await story.given(CreateProject(project_id=project, name="one"))
    await story.when(store(story, project_id=project))
    assert story.then("provider_key.stored")[0]["project_id"] == str(project)
    assert story.events[-1].project_id == project


async def test_a_secret_that_lay_too_long_is_not_spoken_of(story: Story) -> None:
    late = store(story)
    story.clock.advance(301)
    await story.when(late)
    story.then_refused(Refused, code="provider_key_late", saying="send the key again")
    await story.given(store(story))
    stale = rotate(story)
    story.clock.advance(301)
    await story.when(stale)
    story.then_refused(Refused, code="provider_key_late")


async def test_after_a_rotation_both_secrets_work_the_newest_first_until_the_overlap_is_over(story: Story) -> None:
    await story.given(store(story))
    await story.when(rotate(story, overlap_seconds=60))
    (rotated,) = story.then("provider_key.rotated")
    assert (rotated["secret_id"], rotated["old_secret_id"]) == (str(secret(2)), str(secret(1)))
    assert live(story) == [secret(2), secret(1)]
    story.clock.advance(59)
    await story.when(EndKeyOverlap(key_id=KEY, secret_id=secret(1)))
    story.then_refused(Refused, code="not_due")
    story.clock.advance(1)
    assert live(story) == [secret(2)], "the clock ends it, also where nobody says so"
    for wrong in (secret(2), secret(3)):
        await story.when(EndKeyOverlap(key_id=KEY, secret_id=wrong))
        story.then_refused(Refused, code="not_due")
    await story.when(EndKeyOverlap(key_id=KEY, secret_id=secret(1)))
    story.then("provider_key.overlap_ended")
    await story.when(EndKeyOverlap(key_id=KEY, secret_id=secret(1)))
    story.then_refused(Refused, code="not_due")


async def test_without_an_overlap_the_old_secret_is_out_at_once(story: Story) -> None:
    await story.given(store(story), rotate(story, overlap_seconds=0))
    assert live(story) == [secret(2)]


async def test_a_rotation_during_an_overlap_lets_the_oldest_go(story: Story) -> None:
    await story.given(store(story), rotate(story), rotate(story, 3))
    assert live(story) == [secret(3), secret(2)]
    await story.when(EndKeyOverlap(key_id=KEY, secret_id=secret(1)))
    story.then_refused(Refused, code="not_due")


async def test_a_rotation_to_the_same_key_is_refused(story: Story) -> None:
    await story.given(store(story))
    await story.when(rotate(story, fingerprint=f"{1:064x}"))
    story.then_refused(Refused, code="same_provider_key")


async def test_a_revoked_key_pays_no_longer_and_its_label_is_free_again(story: Story) -> None:
    await story.given(store(story), rotate(story))
    await story.when(RevokeProviderKey(key_id=KEY))
    assert story.then("provider_key.revoked") == [{"by": "owner"}]
    assert live(story) == []
    await story.when(RevokeProviderKey(key_id=KEY))
    story.then()
    await story.when(rotate(story, 3))
    story.then_refused(Refused, code="provider_key_revoked", saying="toybox provider-keys add")
    for command in (EndKeyOverlap, NoteKeyUse):
        await story.when(command(key_id=KEY, secret_id=secret(1)))
        story.then_refused(Refused, code="not_due")
    await story.when(store(story, 4))
    story.then("provider_key.stored_again")
    assert live(story) == [secret(4)]


async def test_a_label_stays_with_its_project(story: Story) -> None:
    project = story.id("project")
    await story.given(CreateProject(project_id=project, name="one"))
    await story.given(store(story), RevokeProviderKey(key_id=KEY))
    await story.when(store(story, 2, project_id=project))
    story.then_refused(Refused, code="provider_key_scope", saying="was for every project: choose another label")
    other = provider_key_id("openai", "own")
    await story.given(store(story, 3, label="own", project_id=project), RevokeProviderKey(key_id=other))
    await story.when(store(story, 4, label="own"))
    story.then_refused(Refused, code="provider_key_scope", saying=f"was for project {project}")


async def test_the_first_use_of_each_secret_is_noted_once(story: Story) -> None:
    await story.given(store(story), rotate(story))
    for number in (2, 1):
        await story.when(NoteKeyUse(key_id=KEY, secret_id=secret(number)))
        assert story.then("provider_key.used_first_time") == [{"secret_id": str(secret(number))}]
        await story.when(NoteKeyUse(key_id=KEY, secret_id=secret(number)))
        story.then_refused(Refused, code="not_due")
    await story.when(NoteKeyUse(key_id=KEY, secret_id=secret(3)))
    story.then_refused(Refused, code="not_due")
    key = story.state(ProviderKey, KEY)
    assert key.current.used
    assert key.old
    assert key.old.used


async def test_each_thing_takes_its_own_permission(story: Story) -> None:
    await story.given(store(story))
    for command, permission in (
        (store(story, 2, label="b"), "provider_keys.store"),
        (rotate(story), "provider_keys.rotate"),
        (RevokeProviderKey(key_id=KEY), "provider_keys.revoke"),
    ):
        await story.when(command, principal=Principal("guest", frozenset({"provider_keys.read", "keys.*"})))
        assert story.then_refused(NotAllowed).details["permission"] == permission
        await story.when(command, principal=Principal("guest", frozenset({permission})))
        assert story.refusal is None


async def test_a_cached_key_equals_the_replay_of_its_stored_bytes(story: Story) -> None:
    await story.given(store(story), rotate(story), NoteKeyUse(key_id=KEY, secret_id=secret(2)))
    cached = story.sequencer.aggregates[KEY]
    assert cached == story.state(ProviderKey, KEY)
    assert ProviderKey.from_snapshot(cached.id, cached.version, cached.snapshot()) == cached


@pytest.mark.parametrize("wrong", ["", "short", "with a blank", "two\nlines", "ümlaut-key", "x" * 4097, "tab\tbed-key"])
def test_what_no_header_can_carry_is_refused_and_not_repeated(wrong: str) -> None:
    with pytest.raises(Refused) as refused:
        check_secret(SecretStr(wrong))
    assert refused.value.code == "invalid_provider_key"
    assert not wrong or wrong not in str(refused.value)


def test_of_a_short_key_nothing_is_shown() -> None:
    check_secret(SecretStr("8letters"))
    assert last_four(SecretStr("x" * 15)) is None
    assert last_four(SecretStr("x" * 12 + "abcd")) == "abcd"


def test_an_overlap_has_a_longest() -> None:
    assert rotate(Story(), overlap_seconds=30 * 86_400)
    with pytest.raises(ValidationError, match="less than or equal to 2592000"):
        rotate(Story(), overlap_seconds=30 * 86_400 + 1)
