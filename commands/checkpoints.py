"""What may be asked of checkpoints: look, decide once, press for a decision, let them expire."""

from typing import Annotated
from uuid import UUID

from pydantic import StringConstraints

from commands.handling import Command, handler
from commands.work import UnitOfWork
from domain.checkpoints import Asset, Checkpoint, Decision, MediaType, Size
from domain.errors import NotFound, Refused
from domain.projects import Project
from domain.values import Digest, Prose

Comment = Annotated[Prose, StringConstraints(strip_whitespace=True, min_length=1)]


class ViewCheckpoint(Command, permission="checkpoints.view"):
    """Note that somebody looks at what is to be decided."""

    checkpoint_id: UUID


class ResolveCheckpoint(Command, permission="checkpoints.resolve"):
    """Decide about a held result: approve it, approve an edited version, reject it, or have the agent try again.

    `digest` is that of the content one has looked at. An edit brings new content, stored before; a response a comment.
    """

    project_id: UUID
    checkpoint_id: UUID
    decision: Decision
    digest: Digest | None = None
    comment: Comment | None = None
    content_digest: Digest | None = None
    content_size: Size | None = None
    content_type: MediaType | None = None
    """None: that of the version which is edited."""

    def sealed_under(self) -> UUID | None:
        """The project's key, for the comment."""
        return None if self.comment is None else self.project_id


class EscalateCheckpoint(Command, permission="checkpoints.escalate"):
    """Press for a decision."""

    project_id: UUID
    checkpoint_id: UUID
    note: Comment | None = None

    def sealed_under(self) -> UUID | None:
        """The project's key, for the note."""
        return None if self.note is None else self.project_id


class ExpireCheckpoint(Command, permission="checkpoints.expire"):
    """Close a checkpoint that nobody decided in time."""

    checkpoint_id: UUID


@handler
def view_checkpoint(command: ViewCheckpoint, work: UnitOfWork) -> None:
    """Each person's first look is kept."""
    work.get(Checkpoint, command.checkpoint_id).view(work.actor)


@handler
def resolve_checkpoint(command: ResolveCheckpoint, work: UnitOfWork) -> None:
    """The decision and what it means for the asset are one append; the agent follows by reaction."""
    checkpoint = _find(command.checkpoint_id, command.project_id, work)
    project = work.get(Project, checkpoint.project_id)
    asset = work.get(Asset, checkpoint.asset_id)
    checkpoint.check_pending(work.now)
    project.check_under_way("take a decision about its agents' work")
    checkpoint.check_binding(command.digest)
    edited = _edited(command, checkpoint)
    if command.decision == "respond" and command.comment is None:
        raise Refused("say in a comment what the agent is to do differently", code="comment_required")

    comment = None if command.comment is None else work.seal(command.comment)
    digest, version = checkpoint.digest, checkpoint.asset_version
    if edited:
        digest, version = edited[0], asset.newest + 1
        asset.supersede(*edited, media_type=command.content_type, by=work.actor, held_by=checkpoint.id)
    checkpoint.resolve(command.decision, by=work.actor, comment=comment, digest=digest, asset_version=version)
    if command.decision in ("approve", "edit"):
        asset.approve(version, digest, by=work.actor)
    elif command.decision == "reject":
        asset.reject(version, digest, by=work.actor)


@handler
def escalate_checkpoint(command: EscalateCheckpoint, work: UnitOfWork) -> None:
    """Once is enough."""
    checkpoint = _find(command.checkpoint_id, command.project_id, work)
    checkpoint.escalate(work.actor, None if command.note is None else work.seal(command.note), work.now)


@handler
def expire_checkpoint(command: ExpireCheckpoint, work: UnitOfWork) -> None:
    """Only when its time is over and nobody has decided."""
    work.get(Checkpoint, command.checkpoint_id).expire(work.now)


def _find(checkpoint_id: UUID, project_id: UUID, work: UnitOfWork) -> Checkpoint:
    """Text is sealed under the project's key, so it must be this checkpoint's project."""
    checkpoint = work.get(Checkpoint, checkpoint_id)
    if checkpoint.project_id != project_id:
        raise NotFound(f"project {project_id} has no checkpoint {checkpoint_id}")
    return checkpoint


def _edited(command: ResolveCheckpoint, checkpoint: Checkpoint) -> tuple[str, int] | None:
    """The digest and size of the edited content; an edit has both, nothing else has any."""
    given = (command.content_digest, command.content_size, command.content_type)
    if command.decision != "edit":
        if any(each is not None for each in given):
            raise Refused(f"only an edit brings content: {command.decision} takes none", code="content_unexpected")
        return None
    if command.content_digest is None or command.content_size is None:
        raise Refused("an edit needs its content: digest and size of what was stored", code="content_required")
    if command.content_digest == checkpoint.digest:
        raise Refused("the edited content is the same: approve it as it is", code="unchanged")
    return command.content_digest, command.content_size
