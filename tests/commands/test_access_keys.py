"""Stories of access keys: who may hand out what, how keys are replaced, what their tokens look like."""

import asyncio
import hashlib
import os
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from commands.handling import Command, Principal
from commands.identity.access_keys import IssueAccessKey, RevokeAccessKey, RotateAccessKey
from commands.identity.permissions import declare, known_permissions
from domain.errors import Conflict, NotAllowed, NotFound, Refused
from domain.identity.access_keys import AccessKey
from domain.identity.tokens import SECRET_BYTES, KnownToken, access_key_id, new_token, parse_token
from domain.kernel import EVENT_TYPES
from tests.support.examples import examples
from tests.support.story import Story

CLERK = Principal("clerk", frozenset({"keys.*", "projects.read"}))


class PretendToWork(Command, permission="desks.work"):
    """Something that a key may be allowed to do."""


def known(seed: int = 1) -> KnownToken:
    """The token of a random source that always says the same."""
    found = parse_token(new_token(lambda length: bytes([seed]) * length))
    assert found
    return found


def issue(
    seed: int = 1, *, label: str = "laptop", permissions: tuple[str, ...] = ("*",), **more: object
) -> IssueAccessKey:
    token = known(seed)
    fields = {"key_hash": token.key_hash, "prefix": token.prefix, "label": label, "permissions": permissions}
    return IssueAccessKey.model_validate(fields | more)


def rotate(old: int = 1, new: int = 2, *, permissions: tuple[str, ...] = ("*",), **more: object) -> RotateAccessKey:
    token = known(new)
    fields = {"key_id": known(old).key_id, "key_hash": token.key_hash, "prefix": token.prefix}
    return RotateAccessKey.model_validate(fields | {"permissions": permissions} | more)


async def test_a_key_is_known_by_its_hash_and_its_beginning_only(story: Story) -> None:
    token = new_token(lambda length: b"\x01" * length)
    await story.when(issue(1, permissions=("desks.work", "desks.*", "desks.work")))
    (issued,) = story.then("access_key.issued")
    assert issued["key_hash"] == hashlib.sha256(token.encode()).hexdigest()
    assert issued["permissions"] == ["desks.*", "desks.work"]
    assert (issued["by"], issued["label"], issued["replaces"]) == ("owner", "laptop", None)
    assert token not in story.events[-1].data.decode()
    assert story.answer
    assert story.answer.subject == known(1).key_id == access_key_id(issued["key_hash"])


def test_nothing_about_keys_leaves_the_database() -> None:
    assert all(kind.PRIVATE for name, kind in EVENT_TYPES.items() if name.startswith("access_key."))


async def test_a_repeated_request_is_answered_although_its_token_is_another(story: Story) -> None:
    first = await story.send(issue(1), key="k")
    again = await story.send(issue(2), key="k")
    assert again.repeated
    assert again.subject == first.subject == known(1).key_id
    await story.when(issue(3, label="server"), key="k")
    story.then_refused(Refused, code="idempotency_key_reused")


async def test_a_hash_is_issued_once(story: Story) -> None:
    await story.given(issue(1))
    await story.when(issue(1))
    story.then_refused(Conflict)


@pytest.mark.parametrize(
    ("wanted", "saying"),
    [
        ("desks.wrok", "did you mean desks.work"),
        ("qqqqqq.zzz", "there are *, "),
        ("nobody.*", "there is no permission"),
    ],
)
async def test_a_permission_that_does_not_exist_is_refused(story: Story, wanted: str, saying: str) -> None:
    await story.when(issue(permissions=(wanted,)))
    story.then_refused(Refused, code="unknown_permission", saying=saying)


async def test_a_key_without_permissions_is_refused(story: Story) -> None:
    await story.when(issue(permissions=()))
    story.then_refused(Refused, code="no_permissions")


def test_a_permission_is_spelled_as_context_and_verb() -> None:
    for wrong in ("", "projects", "projects.", ".read", "*.read", "Projects.read", "projects.read.all", "**"):
        with pytest.raises(ValidationError):
            issue(permissions=(wrong,))


async def test_permissions_of_queries_are_known_once_declared(story: Story) -> None:
    declare("drawers.open")
    assert {"drawers.open", "drawers.*", "drawers.read", "desks.read", "*"} <= known_permissions()
    await story.when(issue(permissions=("drawers.open",)))
    story.then("access_key.issued")


@pytest.mark.parametrize("wanted", ["*", "desks.work", "desks.*"])
async def test_nobody_gives_what_they_do_not_have(story: Story, wanted: str) -> None:
    await story.when(issue(permissions=(wanted,)), principal=CLERK)
    assert story.then_refused(NotAllowed).details["permission"] == wanted
    await story.when(issue(permissions=("keys.*", "keys.issue")), principal=CLERK)
    story.then("access_key.issued")


async def test_an_end_in_the_past_is_refused(story: Story) -> None:
    await story.when(issue(expires_at=story.clock.now))
    story.then_refused(Refused, code="expires_in_the_past")


async def test_a_key_admits_until_its_end(story: Story) -> None:
    await story.given(issue(expires_at=story.clock.now + timedelta(seconds=10)))
    key = story.state(AccessKey, known().key_id)
    assert key.admits(story.clock.now)
    assert not key.admits(story.clock.now + timedelta(seconds=10))


async def test_the_last_key_that_may_do_everything_is_not_revoked(story: Story) -> None:
    ends = story.clock.now + timedelta(seconds=60)
    last, weak, ending, other = (known(n).key_id for n in (1, 2, 3, 4))
    await story.given(issue(1), issue(2, permissions=("desks.*",)), issue(3, expires_at=ends))
    story.clock.advance(60)
    for remaining in ((), (weak,), (ending,), (last,), (story.id("nobody"),)):
        await story.when(RevokeAccessKey(key_id=last, remaining=remaining))
        story.then_refused(Refused, code="last_owner_key", saying="issue another one first")
    await story.given(issue(4))
    await story.when(RevokeAccessKey(key_id=last, remaining=(weak, other)))
    story.then("access_key.revoked")
    await story.when(RevokeAccessKey(key_id=other, remaining=(last,)))
    story.then_refused(Refused, code="last_owner_key")
    await story.when(RevokeAccessKey(key_id=weak))
    story.then("access_key.revoked")
    await story.when(RevokeAccessKey(key_id=ending))
    story.then("access_key.revoked")


async def test_of_two_keys_that_revoke_each_other_at_once_one_stays(story: Story) -> None:
    one, two = known(1).key_id, known(2).key_id
    await story.given(issue(1), issue(2))
    outcomes = await asyncio.gather(
        story.send(RevokeAccessKey(key_id=one, remaining=(two,))),
        story.send(RevokeAccessKey(key_id=two, remaining=(one,))),
        return_exceptions=True,
    )
    assert sum(isinstance(each, Refused) for each in outcomes) == 1


async def test_a_repeated_revocation_is_the_same_request_whoever_is_left(story: Story) -> None:
    await story.given(issue(1), issue(2), issue(3))
    for remaining in (known(2).key_id, known(3).key_id):
        await story.when(RevokeAccessKey(key_id=known(1).key_id, remaining=(remaining,)), key="k")
    assert story.answer
    assert story.answer.repeated


async def test_a_revoked_key_admits_nobody_and_is_revoked_once(story: Story) -> None:
    await story.given(issue(permissions=("desks.*",)))
    await story.when(RevokeAccessKey(key_id=known().key_id))
    assert story.then("access_key.revoked") == [{"by": "owner"}]
    assert not story.state(AccessKey, known().key_id).admits(story.clock.now)
    await story.when(RevokeAccessKey(key_id=known().key_id))
    story.then()
    await story.when(RevokeAccessKey(key_id=known(9).key_id))
    story.then_refused(NotFound)


async def test_a_replaced_key_works_on_for_the_overlap(story: Story) -> None:
    await story.given(issue(1, permissions=("desks.work",)))
    await story.when(rotate(1, 2, permissions=("desks.work",), overlap_seconds=60))
    rotated, issued = story.then("access_key.rotated", "access_key.issued")
    assert rotated["successor"] == str(known(2).key_id)
    assert (issued["replaces"], issued["label"]) == (str(known(1).key_id), "laptop")
    old, new = (story.state(AccessKey, known(n).key_id) for n in (1, 2))
    assert old.admits(story.clock.now + timedelta(seconds=59))
    assert not old.admits(story.clock.now + timedelta(seconds=60))
    assert new.permissions == ["desks.work"]
    assert new.expires_at is None


async def test_an_overlap_does_not_prolong_a_key(story: Story) -> None:
    ends = story.clock.now + timedelta(seconds=30)
    await story.given(issue(1, expires_at=ends), rotate(1, 2, overlap_seconds=60))
    assert [story.state(AccessKey, known(n).key_id).expires_at for n in (1, 2)] == [ends, ends]


async def test_the_new_key_may_live_longer_than_the_old(story: Story) -> None:
    ends = story.clock.now + timedelta(days=90)
    await story.given(issue(1, expires_at=story.clock.now + timedelta(seconds=30)))
    await story.when(rotate(1, 2, expires_at=story.clock.now))
    story.then_refused(Refused, code="expires_in_the_past")
    await story.given(rotate(1, 2, expires_at=ends))
    assert story.state(AccessKey, known(2).key_id).expires_at == ends


async def test_nobody_gains_permissions_by_rotating_a_stronger_key(story: Story) -> None:
    await story.given(issue(1, permissions=("*",)))
    await story.when(rotate(1, 2, permissions=("*",)), principal=CLERK)
    story.then_refused(NotAllowed)
    await story.when(rotate(1, 2, permissions=("projects.read",)), principal=CLERK)
    story.then_refused(Conflict, code="permissions_differ")


async def test_a_key_has_one_successor(story: Story) -> None:
    await story.given(issue(1), rotate(1, 2))
    await story.when(rotate(1, 3))
    story.then_refused(Conflict, code="already_rotated")


async def test_a_key_that_opens_nothing_is_not_replaced(story: Story) -> None:
    await story.given(issue(1), issue(4), RevokeAccessKey(key_id=known(1).key_id, remaining=(known(4).key_id,)))
    await story.when(rotate(1, 3))
    story.then_refused(Refused, code="key_not_valid", saying="revoked by owner")
    await story.given(issue(2, expires_at=story.clock.now + timedelta(seconds=5)))
    story.clock.advance(6)
    await story.when(rotate(2, 3))
    story.then_refused(Refused, code="key_not_valid", saying="has expired")


async def test_a_cached_key_equals_the_replay_of_its_stored_bytes(story: Story) -> None:
    await story.given(issue(1, expires_at=story.clock.now + timedelta(days=1)), rotate(1, 2))
    await story.given(RevokeAccessKey(key_id=known(1).key_id, remaining=(known(2).key_id,)))
    cached = story.sequencer.aggregates[known(1).key_id]
    assert cached == story.state(AccessKey, known(1).key_id)
    assert AccessKey.from_snapshot(cached.id, cached.version, cached.snapshot()) == cached


def test_tokens_are_made_of_all_their_randomness() -> None:
    assert len({new_token(os.urandom) for _ in range(1000)}) == 1000
    longest, shortest = new_token(lambda length: b"\xff" * length), new_token(bytes)
    assert len(longest) == len(shortest) == 4 + 43 + 6
    assert longest[4:] > shortest[4:]


@given(st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES))
def test_a_token_is_recognised(secret: bytes) -> None:
    token = new_token(lambda _: secret)
    found = parse_token(token)
    assert found
    assert token.startswith(found.prefix)
    assert found.key_hash == hashlib.sha256(token.encode()).hexdigest()


@settings(max_examples=examples(300))
@given(st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES), st.integers(4, 52), st.integers(1, 61))
def test_one_wrong_character_is_noticed(secret: bytes, place: int, shift: int) -> None:
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    token = new_token(lambda _: secret)
    wrong = alphabet[(alphabet.index(token[place]) + shift) % 62]
    assert parse_token(token[:place] + wrong + token[place + 1 :]) is None


@pytest.mark.parametrize("spelled", ["{0}0", " {0}", "{0}\n", "", "tbx_", "{1}", "tbx_{0}", "tbx_é{0}"])
def test_what_is_not_a_token_is_not_looked_up(spelled: str) -> None:
    token = new_token(lambda length: bytes(range(length)))
    assert parse_token(token)
    assert parse_token(spelled.format(token, token.swapcase())) is None
    assert parse_token(token[:-1]) is None
