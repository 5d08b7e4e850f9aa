"""Routes for assets: what there is, its content, new versions, what counts."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Query
from starlette.requests import Request
from starlette.responses import Response

from api.answers import Done
from api.beginnings import first_event, project_of
from api.bodies import checked, limited
from api.commanding import Commanding, offer
from api.downloads import download
from api.looking import Looking, missing
from api.paging import Cursor, Limit, Listed
from api.permissions import may
from api.routing import router_of
from commands.assets import ApproveAsset, RegisterAsset, RejectAsset, SupersedeAsset
from domain.checkpoints import AssetStatus
from domain.errors import NotFound
from domain.ids import asset_id as id_of_asset
from projections.checkpoints import AssetView, AssetViews, assets
from projections.folding import fold_document

router = router_of("assets")
FileName = Annotated[str, Path(max_length=128, description="Its name: release-notes.md")]
_UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The content; Content-Type says what it is",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_CONTENT: dict[int | str, dict[str, Any]] = {
    200: {"description": "The content", "content": {"application/octet-stream": {}}},
    206: {"description": "The range that was asked for"},
    304: {"description": "You have it already"},
}


@router.get("/api/assets", dependencies=[may("assets.read")], response_model=Listed[AssetView])
async def list_assets(
    looking: Looking,
    project_id: UUID,
    status: AssetStatus | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """The files of a project, by name, each with its versions."""
    async with looking.at(AssetViews) as seen:
        page = await assets(seen.connection, project_id=project_id, status=status, cursor=cursor, limit=limit)
        truth = await seen.truth(project_id)
    return await looking.show_page(page, truth)


@router.get("/api/assets/{asset_id}", dependencies=[may("assets.read")], response_model=AssetView)
async def get_asset(asset_id: UUID, looking: Looking) -> Response:
    """One file with its versions, and who let them count."""
    async with looking.at(AssetViews) as seen:
        row = await AssetViews.find(seen.connection, asset_id)
        truth = await seen.truth(row.project_id if row else asset_id)
    if row is None:
        raise missing("asset", asset_id, truth)
    return await looking.show(row.view, truth, version=row.view.version)


@router.get(
    "/api/assets/{asset_id}/content", dependencies=[may("assets.read")], response_class=Response, responses=_CONTENT
)
async def get_asset_content(
    asset_id: UUID,
    looking: Looking,
    request: Request,
    version: Annotated[int | None, Query(ge=1, description="Without it, the newest")] = None,
) -> Response:
    """The content of a version; ranges and If-None-Match are understood, the ETag is its sha256."""
    asset = await fold_document(AssetViews(), looking.services.reader, asset_id, None)
    if asset is None:
        raise NotFound(f"there is no asset {asset_id}")
    wanted = asset.newest if version is None else version
    found = next((each for each in asset.versions if each.version == wanted), None)
    if found is None:
        raise NotFound(f"{asset.name} has no version {wanted}: the newest is {asset.newest}")
    return await download(
        request.headers, looking.services.objects, asset.project_id, found.digest, found.media_type, asset.name
    )


@router.put(
    "/api/projects/{project_id}/assets/{name}",
    status_code=201,
    dependencies=[may(RegisterAsset)],
    response_model=Done,
    openapi_extra=_UPLOAD,
)
async def upload_asset(project_id: UUID, name: FileName, commanding: Commanding, request: Request) -> Response:
    """Add a file to a project."""
    services = commanding.services
    await first_event(services.reader, project_id, "project")
    known = {"project_id": project_id, "name": name, "media_type": _media_type(request)}
    checked(RegisterAsset, **known, digest="0" * 64, size=0)  # before a large body is taken
    stored = await services.objects.put(project_id, limited(request, services.limits.upload_bytes))
    stream = id_of_asset(project_id, name)
    answer = await commanding.carry_out(checked(RegisterAsset, **known, digest=stored.digest, size=stored.size))
    return commanding.done(
        answer, about=stream, status=201, location=f"/api/assets/{stream}", more={"digest": stored.digest}
    )


@router.put(
    "/api/assets/{asset_id}/content", dependencies=[may(SupersedeAsset)], response_model=Done, openapi_extra=_UPLOAD
)
async def supersede_asset(asset_id: UUID, commanding: Commanding, request: Request) -> Response:
    """Give a file new content, which nobody has approved yet."""
    services = commanding.services
    project_id = await project_of(services.reader, asset_id, "asset")
    known = {"asset_id": asset_id, "media_type": _media_type(request)}
    checked(SupersedeAsset, **known, digest="0" * 64, size=0)
    stored = await services.objects.put(project_id, limited(request, services.limits.upload_bytes))
    command = checked(SupersedeAsset, **known, digest=stored.digest, size=stored.size)
    return await commanding.send(command, about=asset_id, more={"digest": stored.digest})


offer(router, "POST", "/api/assets/{asset_id}/approve", ApproveAsset, name="approve_asset", about="asset_id")
offer(router, "POST", "/api/assets/{asset_id}/reject", RejectAsset, name="reject_asset", about="asset_id")


def _media_type(request: Request) -> str:
    said = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return said or "application/octet-stream"
