"""What may be asked of provider keys: store, rotate, revoke. The key itself lies beside the log, not in commands."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from commands.handling import Command, handler
from commands.work import UnitOfWork
from domain.errors import Refused
from domain.ids import provider_key_id
from domain.projects import Project
from domain.provider_keys import LONGEST_IN_FLIGHT, HeldSecret, LastFour, ProviderKey
from domain.values import Digest, Instant, Slug

LONGEST_OVERLAP = 30 * 86_400
"""Seconds that a replaced secret may go on working."""


class OfSecret(BaseModel):
    """What a command says of a secret that was sealed beside the log before it; its fingerprint stands for it."""

    # Whatever is made anew at every try is left out of the fingerprint of the command.
    secret_id: Annotated[UUID, Field(exclude=True)]
    kept_at: Annotated[Instant, Field(exclude=True)]
    last_four: LastFour | None
    fingerprint: Digest

    def secret(self, work: UnitOfWork) -> HeldSecret:
        """The secret, unless it lay so long that the sweep may already have taken it."""
        if work.now - self.kept_at > LONGEST_IN_FLIGHT:
            raise Refused("this took too long: send the key again", code="provider_key_late")
        return HeldSecret(secret_id=self.secret_id, last_four=self.last_four, fingerprint=self.fingerprint)


class StoreProviderKey(OfSecret, Command, permission="provider_keys.store"):
    """Make calls to a provider with this key: those of one project, or of every project that has no key of its own."""

    provider: Slug
    label: Slug = "default"
    project_id: UUID | None = None

    def streams(self) -> tuple[UUID, ...]:
        """The key of this label, and its project."""
        return (provider_key_id(self.provider, self.label), *([self.project_id] if self.project_id else []))


class RotateProviderKey(OfSecret, Command, permission="provider_keys.rotate"):
    """Use a new key from now on; the old one works on for the overlap, where the provider refuses the new one."""

    key_id: UUID
    overlap_seconds: Annotated[int, Field(ge=0, le=LONGEST_OVERLAP)] = 86_400

    def streams(self) -> tuple[UUID, ...]:
        """The key."""
        return (self.key_id,)


class RevokeProviderKey(Command, permission="provider_keys.revoke"):
    """Use a key no longer, at once, and erase it. The vendor still knows it: take it back there too."""

    key_id: UUID


class EndKeyOverlap(Command, permission="provider_keys.work"):
    """Let a replaced secret go whose time is over."""

    key_id: UUID
    secret_id: UUID

    def streams(self) -> tuple[UUID, ...]:
        """The key."""
        return (self.key_id,)


class NoteKeyUse(Command, permission="provider_keys.work"):
    """Say that a provider has taken a secret for the first time."""

    key_id: UUID
    secret_id: UUID

    def streams(self) -> tuple[UUID, ...]:
        """The key."""
        return (self.key_id,)


@handler
def store_provider_key(command: StoreProviderKey, work: UnitOfWork) -> None:
    """A label is taken once; that of a revoked key may be taken again."""
    stream = provider_key_id(command.provider, command.label)
    known = work.find(ProviderKey, stream)
    if command.project_id:
        work.get(Project, command.project_id)
    secret = command.secret(work)
    if known:
        known.store_again(command.project_id, secret, by=work.actor)
        return
    work.add(
        ProviderKey(
            id=stream,
            provider=command.provider,
            label=command.label,
            project_id=command.project_id,
            secret_id=secret.secret_id,
            last_four=secret.last_four,
            fingerprint=secret.fingerprint,
            by=work.actor,
        )
    )


@handler
def rotate_provider_key(command: RotateProviderKey, work: UnitOfWork) -> None:
    """The newest secret is used first."""
    key = work.get(ProviderKey, command.key_id)
    key.rotate(command.secret(work), timedelta(seconds=command.overlap_seconds), by=work.actor, now=work.now)


@handler
def revoke_provider_key(command: RevokeProviderKey, work: UnitOfWork) -> None:
    """Revoking again changes nothing."""
    work.get(ProviderKey, command.key_id).revoke(work.actor)


@handler
def end_key_overlap(command: EndKeyOverlap, work: UnitOfWork) -> None:
    """By the log's clock."""
    work.get(ProviderKey, command.key_id).end_overlap(command.secret_id, work.now)


@handler
def note_key_use(command: NoteKeyUse, work: UnitOfWork) -> None:
    """Once for each secret."""
    work.get(ProviderKey, command.key_id).note_use(command.secret_id)
