"""Commands of access keys: issue, rotate, revoke. The token itself never comes here, only its hash."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from pydantic import Field

from commands.handling import Command, handler
from commands.identity.permissions import check_permissions
from commands.work import UnitOfWork
from domain.errors import Refused
from domain.identity.access_keys import AccessKey, Permission, Prefix
from domain.identity.tokens import access_key_id
from domain.values import Digest, Instant, Name

LONGEST_OVERLAP = 30 * 86_400
"""Seconds that a replaced key may go on working."""
Permissions = Annotated[tuple[Permission, ...], Field(max_length=200)]


class IssueAccessKey(Command, permission="keys.issue"):
    """Give somebody a key, with permissions that the giver holds."""

    # Every try makes another token. Left out of the fingerprint, so that a repeated request is known as the same one.
    key_hash: Annotated[Digest, Field(exclude=True)]
    prefix: Annotated[Prefix, Field(exclude=True)]
    label: Name
    permissions: Permissions
    expires_at: Instant | None = None

    def also_takes(self) -> tuple[str, ...]:
        """Nobody gives what they do not have."""
        return self.permissions

    def streams(self) -> tuple[UUID, ...]:
        """The key that will be made."""
        return (access_key_id(self.key_hash),)


class RotateAccessKey(Command, permission="keys.rotate"):
    """Replace a key by a new one with the same permissions; the old one works on for the overlap."""

    key_id: UUID
    key_hash: Annotated[Digest, Field(exclude=True)]
    prefix: Annotated[Prefix, Field(exclude=True)]
    permissions: Permissions
    """Those of the key, as the caller knows them: what the new token will open."""
    expires_at: Instant | None = None
    """When the new key ends; None: when the old one would have."""
    overlap_seconds: Annotated[int, Field(ge=0, le=LONGEST_OVERLAP)] = 86_400

    def also_takes(self) -> tuple[str, ...]:
        """Whoever holds the new token holds its permissions: nobody may gain any by rotating."""
        return self.permissions

    def streams(self) -> tuple[UUID, ...]:
        """The old key and the new one."""
        return (self.key_id, access_key_id(self.key_hash))


class RevokeAccessKey(Command, permission="keys.revoke"):
    """Shut a key out, at once and for ever. The last one that may do everything stays: it must issue another first."""

    key_id: UUID
    remaining: Annotated[tuple[UUID, ...], Field(exclude=True, max_length=200)] = ()
    """Other keys that may do everything, as far as the caller knows; a read model's word, so the decide looks again."""

    def streams(self) -> tuple[UUID, ...]:
        """The key and those that stay."""
        return (self.key_id, *self.remaining)


@handler
def issue_access_key(command: IssueAccessKey, work: UnitOfWork) -> None:
    """A key with an end in the future and permissions that exist."""
    permissions = check_permissions(command.permissions)
    _check_future(command.expires_at, work)
    key_id = work.check_new(AccessKey, access_key_id(command.key_hash))
    work.add(
        AccessKey(
            id=key_id,
            key_hash=command.key_hash,
            prefix=command.prefix,
            label=command.label,
            permissions=permissions,
            expires_at=command.expires_at,
            replaces=None,
            by=work.actor,
        )
    )


@handler
def rotate_access_key(command: RotateAccessKey, work: UnitOfWork) -> None:
    """The old key's end and its successor, in one append."""
    old = work.get(AccessKey, command.key_id)
    new_id = work.check_new(AccessKey, access_key_id(command.key_hash))
    old.check_rotatable(command.permissions, work.now)
    _check_future(command.expires_at, work)
    work.add(
        AccessKey(
            id=new_id,
            key_hash=command.key_hash,
            prefix=command.prefix,
            label=old.label,
            permissions=old.permissions,
            expires_at=command.expires_at or old.expires_at,
            replaces=old.id,
            by=work.actor,
        )
    )
    old.rotate(new_id, timedelta(seconds=command.overlap_seconds), by=work.actor, now=work.now)


@handler
def revoke_access_key(command: RevokeAccessKey, work: UnitOfWork) -> None:
    """Revoking again changes nothing."""
    others = work.find_all(AccessKey, [each for each in command.remaining if each != command.key_id])
    stays = any(each.may_do_everything and each.admits(work.now) for each in others.values() if each)
    work.get(AccessKey, command.key_id).revoke(work.actor, is_last=not stays, now=work.now)


def _check_future(expires_at: Instant | None, work: UnitOfWork) -> None:
    if expires_at is not None and expires_at <= work.now:
        raise Refused("the key would have expired already: choose an end in the future", code="expires_in_the_past")
