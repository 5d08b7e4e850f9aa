"""What may be asked of assets: add a file or a new version of it, approve or reject the newest."""

from uuid import UUID

from commands.handling import Command, handler
from commands.work import UnitOfWork
from domain.checkpoints import Asset, AssetName, Checkpoint, MediaType, Size
from domain.errors import Refused
from domain.ids import asset_id
from domain.projects import Project
from domain.values import Digest


class RegisterAsset(Command, permission="assets.register"):
    """Add a file to a project; its content was stored before."""

    project_id: UUID
    name: AssetName
    media_type: MediaType
    digest: Digest
    size: Size

    def streams(self) -> tuple[UUID, ...]:
        """The project and the asset that will be made."""
        return (self.project_id, asset_id(self.project_id, self.name))


class SupersedeAsset(Command, permission="assets.supersede"):
    """Give a file new content, stored before; nobody has approved that yet."""

    asset_id: UUID
    digest: Digest
    size: Size
    media_type: MediaType | None = None


class ApproveAsset(Command, permission="assets.approve"):
    """Say that the newest version counts; `digest` is that of the content one has looked at."""

    asset_id: UUID
    digest: Digest


class RejectAsset(Command, permission="assets.reject"):
    """Say that the newest version does not count; `digest` is that of the content one has looked at."""

    asset_id: UUID
    digest: Digest


@handler
def register_asset(command: RegisterAsset, work: UnitOfWork) -> None:
    """A name is taken once; what is there already gets a new version instead."""
    work.get(Project, command.project_id).check_open("take files")
    work.add(
        Asset(
            id=work.check_new(Asset, asset_id(command.project_id, command.name)),
            project_id=command.project_id,
            name=command.name,
            media_type=command.media_type,
            digest=command.digest,
            size=command.size,
            agent_id=None,
            run=None,
            held_by=None,
            by=work.actor,
        )
    )


@handler
def supersede_asset(command: SupersedeAsset, work: UnitOfWork) -> None:
    """Not while a person decides about the version that is there."""
    asset = _changeable(command.asset_id, work)
    asset.check_changes(command.digest, command.media_type)
    asset.supersede(command.digest, command.size, media_type=command.media_type, by=work.actor)


@handler
def approve_asset(command: ApproveAsset, work: UnitOfWork) -> None:
    """Approving again changes nothing."""
    asset = _changeable(command.asset_id, work)
    asset.check_decidable("approved", command.digest)
    asset.approve(asset.newest, asset.digest, by=work.actor)


@handler
def reject_asset(command: RejectAsset, work: UnitOfWork) -> None:
    """Rejecting again changes nothing."""
    asset = _changeable(command.asset_id, work)
    asset.check_decidable("rejected", command.digest)
    asset.reject(asset.newest, asset.digest, by=work.actor)


def _changeable(stream: UUID, work: UnitOfWork) -> Asset:
    """The asset, unless its project is closed or a checkpoint holds its newest version."""
    asset = work.get(Asset, stream)
    project = work.get(Project, asset.project_id)
    held_by = work.get(Checkpoint, asset.held_by) if asset.held_by else None
    project.check_open("have a file changed")
    if held_by and held_by.status == "pending":
        raise Refused(
            f"{asset.name} waits for a decision of checkpoint {held_by.id}: decide there",
            code="held_by_checkpoint",
            checkpoint_id=str(held_by.id),
        )
    return asset
