"""Content over HTTP: whole or a range, known by its digest, never run by a browser."""

import re
from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import quote
from uuid import UUID

from starlette.datastructures import Headers
from starlette.responses import Response, StreamingResponse

from api.answers import shown
from commands.objects import Objects

_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


async def download(
    headers: Headers, objects: Objects, subject: UUID, digest: str, media_type: str, name: str
) -> Response:
    """The content under this digest, as far as the request asks for it. NotFound, code `erased`, once it was erased."""
    tag = f'"{digest}"'
    answered = {
        "ETag": tag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",  # a key may be destroyed: ask every time, with If-None-Match
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}",
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
    size = await objects.size(subject, digest)
    if tag in (each.strip() for each in headers.get("if-none-match", "").split(",")):
        return Response(status_code=304, headers=answered)
    span = _span(headers, tag, size)
    if span is None:
        return shown({"type": "/problems/range_not_satisfiable", "title": "Range not satisfiable", "status": 416,
                      "detail": f"the content has {size} bytes", "code": "range_not_satisfiable"},
                     status=416, media_type="application/problem+json",
                     headers={"Content-Range": f"bytes */{size}"})  # fmt: skip
    start, end = span
    answered["Content-Length"] = str(end - start)
    partial = (start, end) != (0, size)
    if partial:
        answered["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    pieces: AsyncIterator[bytes] = await objects.open(subject, digest, start=start, end=end)
    return StreamingResponse(pieces, 206 if partial else 200, answered, media_type)


def _span(headers: Headers, tag: str, size: int) -> tuple[int, int] | None:
    """The bytes that are asked for, the end not included; None when there are none of these."""
    asked = _RANGE.fullmatch(headers.get("range", "").replace(" ", ""))
    if asked is None or asked[0] == "bytes=-" or headers.get("if-range", tag) != tag:
        return 0, size  # no range, several, or one of other content: all of it, as the standard allows
    first, last = asked.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
    return (start, end) if start < end else None
