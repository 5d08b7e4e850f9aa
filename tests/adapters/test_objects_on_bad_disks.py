"""The object store on disks that are full, away or broken: it says which folder and what to do, and leaves nothing."""

import errno
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.objects.format import CHUNK, sealed_size
from commands.objects import Objects
from domain.errors import Unavailable
from tests.adapters.contents import ADA, content, digest_of, files


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
async def test_a_full_disk_says_what_is_missing_where_and_leaves_nothing(
    store: Objects, folder: Path, monkeypatch: pytest.MonkeyPatch, given_as, number: int
) -> None:
    await store.put(ADA, b"so that the folders are there")
    data = content(5 * CHUNK)
    with monkeypatch.context() as full:
        full.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(number, os.strerror(number))))
        with pytest.raises(Unavailable, match="is full") as refused:
            await store.put(ADA, given_as(data))
    assert refused.value.code == "disk_full"
    assert str(folder) in str(refused.value)
    assert f"{sealed_size(len(data))} bytes are needed" in str(refused.value)
    assert refused.value.details["needed"] == sealed_size(len(data))
    assert len(files(folder)) == 1
    await store.put(ADA, given_as(data))
    assert await store.read(ADA, digest_of(data)) == data


async def test_a_disk_that_cannot_even_take_a_folder_is_full_too(
    store: Objects, folder: Path, monkeypatch: pytest.MonkeyPatch, given_as
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pathlib.Path.mkdir", full)
    with pytest.raises(Unavailable, match="make room there") as refused:
        await store.put(ADA, given_as(b"content"))
    assert str(folder) in str(refused.value)


@pytest.mark.parametrize(
    ("number", "fix"),
    [
        (errno.EIO, "look after its disk"),
        (errno.EROFS, "mount it for writing"),
        (errno.EACCES, "the user that toybox runs as"),
        (errno.ENOENT, "put it back"),
    ],
)
async def test_another_failure_of_the_disk_is_not_called_full_and_names_folder_and_fix(
    store: Objects, folder: Path, monkeypatch: pytest.MonkeyPatch, given_as, number: int, fix: str
) -> None:
    await store.put(ADA, b"so that the folders are there")
    with monkeypatch.context() as broken:
        broken.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(number, os.strerror(number))))
        with pytest.raises(Unavailable, match=fix) as away:
            await store.put(ADA, given_as(content(CHUNK)))
    assert away.value.code == "objects_away"
    assert str(folder) in str(away.value)
    assert os.strerror(number) in str(away.value)
    assert len(files(folder)) == 1


@pytest.fixture
def obstacle(folder: Path) -> Path:
    folder.parent.mkdir()
    folder.write_text("not a folder")
    return folder


async def test_a_file_in_the_place_of_the_folder_is_told(store: Objects, obstacle: Path, given_as) -> None:
    with pytest.raises(Unavailable, match="move the file away") as away:
        await store.put(ADA, given_as(b"content"))
    assert str(obstacle) in str(away.value)


async def test_a_folder_that_was_taken_away_is_made_again(store: Objects, folder: Path, given_as) -> None:
    await store.put(ADA, b"before")
    shutil.rmtree(folder)
    stored = await store.put(ADA, given_as(b"after"))
    assert await store.read(ADA, stored.digest) == b"after"


async def test_content_that_cannot_be_read_is_away_not_gone(
    store: Objects, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = (await store.put(ADA, b"content")).digest
    monkeypatch.setattr(
        "pathlib.Path.open", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error"))
    )
    with pytest.raises(Unavailable, match="cannot read content") as away:
        await store.read(ADA, digest)
    assert str(folder) in str(away.value)


async def test_a_stream_that_breaks_off_leaves_nothing(store: Objects, folder: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield content(3 * CHUNK)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await store.put(ADA, broken())
    assert not files(folder)
