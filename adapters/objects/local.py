"""The object store in a local directory: `<folder>/<subject>/<aa>/<digest>`, written whole or not at all."""

import asyncio
import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol
from uuid import UUID

from adapters.durable_files import PRIVATE_FILE, make_folder, sync_folder
from adapters.objects.format import CHUNK, Damaged, Header, Writer, sealed_size
from adapters.security.sealing import AesSealer
from commands.objects import StoredObject
from domain.errors import NotFound, Refused, Unavailable

READ_CHUNKS = 16
"""Chunks that are read and unsealed at a time: one piece of an answer, 1 MiB."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_FULL = {errno.ENOSPC, errno.EDQUOT}
_FIXES = {
    errno.EROFS: "mount it for writing",
    errno.EACCES: "give it to the user that toybox runs as",
    errno.EPERM: "give it to the user that toybox runs as",
    errno.ENOENT: "put it back, and mount what belongs there",
    errno.ENOTDIR: "move the file away that is in its place",
}
_INCOMING = "incoming"


class Sealers(Protocol):
    """A keyring whose sealers also seal bytes."""

    async def sealer(self, subject: UUID, *, create: bool) -> AesSealer:
        """The subject's sealer; NotFound or made where there is none, Refused as `key_destroyed` once it is gone."""
        ...


class LocalObjects:
    """Content in files of one directory, which several processes may share."""

    def __init__(self, folder: Path, keyring: Sealers) -> None:
        self._folder = folder
        self._keyring = keyring

    # --- writing ---

    async def put(self, subject: UUID, data: bytes | AsyncIterator[bytes], *, makes_key: bool = False) -> StoredObject:
        """Seal and store; the name appears only when all of it is durable. Storing it again changes nothing."""
        sealer = await self._keyring.sealer(subject, create=makes_key)
        if isinstance(data, bytes):
            return await asyncio.to_thread(self._put_bytes, subject, sealer, data)
        with self._writing(None):
            incoming = await asyncio.to_thread(self._receive)
        try:
            return await self._put_stream(subject, sealer, incoming, data)
        finally:
            await asyncio.to_thread(_discard, incoming)

    def _put_bytes(self, subject: UUID, sealer: AesSealer, data: bytes) -> StoredObject:
        digest = hashlib.sha256(data)
        stored = StoredObject(digest.hexdigest(), len(data))
        with self._writing(sealed_size(len(data))):
            if self._is_whole(subject, sealer, stored):
                return stored
            incoming = self._receive()
            try:
                writer = Writer(incoming, sealer)
                last = max(0, len(data) - 1) // CHUNK
                for index in range(last + 1):
                    writer.chunk(data[index * CHUNK : (index + 1) * CHUNK], last=index == last)
                self._keep(subject, incoming, writer, stored)
            finally:
                _discard(incoming)
        return stored

    async def _put_stream(
        self, subject: UUID, sealer: AesSealer, incoming: BinaryIO, data: AsyncIterator[bytes]
    ) -> StoredObject:
        digest, size, rest = hashlib.sha256(), 0, bytearray()
        with self._writing(None):
            writer = Writer(incoming, sealer)
        async for piece in data:
            digest.update(piece)
            size += len(piece)
            rest += piece
            # A full chunk is kept back until it is known not to be the last.
            ready = max(0, len(rest) - 1) // CHUNK
            if ready:
                with self._writing(sealed_size(size), incoming):
                    await asyncio.to_thread(_write, writer, bytes(rest[: ready * CHUNK]))
                del rest[: ready * CHUNK]
        stored = StoredObject(digest.hexdigest(), size)
        with self._writing(sealed_size(size), incoming):
            await asyncio.to_thread(self._finish, subject, sealer, incoming, writer, stored, bytes(rest))
        return stored

    def _finish(
        self, subject: UUID, sealer: AesSealer, incoming: BinaryIO, writer: Writer, stored: StoredObject, rest: bytes
    ) -> None:
        writer.chunk(rest, last=True)
        if not self._is_whole(subject, sealer, stored):
            self._keep(subject, incoming, writer, stored)

    def _receive(self) -> BinaryIO:
        """A new file for what comes in, locked as long as somebody writes it."""
        folder = self._folder / _INCOMING
        make_folder(folder)
        while True:
            path = folder / secrets.token_hex(16)
            file = open(path, "xb", opener=_privately)  # noqa: SIM115 -- the caller closes it
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink:
                return file
            file.close()  # swept away between the two calls

    def _keep(self, subject: UUID, incoming: BinaryIO, writer: Writer, stored: StoredObject) -> None:
        writer.header(bytes.fromhex(stored.digest), stored.size)
        incoming.flush()
        os.fsync(incoming.fileno())
        path = self._path(subject, stored.digest)
        make_folder(path.parent)
        Path(incoming.name).replace(path)
        sync_folder(path.parent)

    def _is_whole(self, subject: UUID, sealer: AesSealer, stored: StoredObject) -> bool:
        """Whether this very content is stored already, as far as its header and length tell."""
        try:
            header = self._read_header(subject, stored.digest, sealer)
        except (NotFound, Unavailable):
            return False  # not there, or damaged: then it is mended now
        sync_folder(self._path(subject, stored.digest).parent)  # its writer may not have come to that yet
        return header.size == stored.size

    def sweep(self) -> int:
        """Remove what interrupted writes left behind, while others go on writing; answers how many files that were."""
        swept = 0
        for path in (self._folder / _INCOMING).glob("*"):
            with suppress(OSError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
                swept += 1
        return swept

    # --- reading ---

    async def open(self, subject: UUID, digest: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Pieces of the range; only the chunks that it touches are read and unsealed."""
        size = (await self._header(subject, digest)).size
        end = size if end is None else min(end, size)
        if not 0 <= start <= end:
            raise Refused(f"the content has {size} bytes: there is no range from {start}", code="range_not_satisfiable")
        return self._pieces(subject, digest, start, end)

    async def _pieces(self, subject: UUID, digest: str, start: int, end: int) -> AsyncGenerator[bytes, None]:
        while start < end:
            first = start // CHUNK
            # Anew for each piece: a key that is destroyed in the middle of a long answer ends it.
            sealer = await self._sealer(subject)
            plain = await asyncio.to_thread(self._chunks, subject, digest, sealer, first)
            piece = plain[start - first * CHUNK : end - first * CHUNK]
            yield piece
            start += len(piece)

    async def read(self, subject: UUID, digest: str) -> bytes:
        """All of it."""
        content = b"".join([piece async for piece in await self.open(subject, digest)])
        if hashlib.sha256(content).hexdigest() != digest:
            raise _damaged(self._path(subject, digest), "its content has another digest")
        return content

    async def exists(self, subject: UUID, digest: str) -> bool:
        """Whether it can be read: a destroyed key answers no, a damaged file raises."""
        try:
            await self._header(subject, digest)
        except NotFound:
            return False
        return True

    async def size(self, subject: UUID, digest: str) -> int:
        """Bytes of plaintext."""
        return (await self._header(subject, digest)).size

    async def _sealer(self, subject: UUID) -> AesSealer:
        try:
            return await self._keyring.sealer(subject, create=False)
        except Refused as refused:
            raise NotFound(
                "this content was erased: the key it was sealed with is destroyed", code="erased"
            ) from refused

    async def _header(self, subject: UUID, digest: str) -> Header:
        if not await asyncio.to_thread(self._is_there, self._path(subject, digest)):
            raise _not_found(digest)
        sealer = await self._sealer(subject)
        return await asyncio.to_thread(self._read_header, subject, digest, sealer)

    def _is_there(self, path: Path) -> bool:
        try:
            return path.is_file()
        except OSError as error:
            raise self._failed("read", error) from error

    def _read_header(self, subject: UUID, digest: str, sealer: AesSealer) -> Header:
        with self._reading(subject, digest) as file:
            return _checked(Header.read(file, sealer), digest)

    def _chunks(self, subject: UUID, digest: str, sealer: AesSealer, first: int) -> bytes:
        with self._reading(subject, digest) as file:
            return _checked(Header.read(file, sealer), digest).chunks(file, sealer, first, READ_CHUNKS)

    @contextmanager
    def _reading(self, subject: UUID, digest: str) -> Iterator[BinaryIO]:
        path = self._path(subject, digest)
        try:
            with path.open("rb") as file:
                yield file
        except FileNotFoundError as error:
            raise _not_found(digest) from error
        except OSError as error:
            raise self._failed("read", error) from error
        except (Damaged, Refused) as error:
            raise _damaged(path, str(error)) from error

    def _path(self, subject: UUID, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise _not_found(digest)
        return self._folder / subject.hex / digest[:2] / digest

    @contextmanager
    def _writing(self, needed: int | None, incoming: BinaryIO | None = None) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise (self._full(needed, incoming) if error.errno in _FULL else self._failed("write", error)) from error

    def _full(self, needed: int | None, incoming: BinaryIO | None) -> Unavailable:
        free = shutil.disk_usage(next(each for each in (self._folder, *self._folder.parents) if each.is_dir())).free
        free += os.fstat(incoming.fileno()).st_size if incoming else 0  # it will be discarded
        wanted = "more space is" if needed is None else f"{needed} bytes are"
        missing = "" if needed is None or needed <= free else f", {needed - free} bytes are missing"
        return Unavailable(
            f"the disk of {self._folder} is full: {wanted} needed, {free} bytes are free{missing}; make room there",
            code="disk_full",
            retry_after=30,
            needed=needed,
            free=free,
        )

    def _failed(self, to: str, error: OSError) -> Unavailable:
        fix = _FIXES.get(error.errno or 0, "look after its disk")
        return Unavailable(
            f"toybox cannot {to} content in {self._folder} ({error.strerror or error}): {fix}",
            code="objects_away",
            retry_after=30,
        )


def _privately(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE_FILE)


def _write(writer: Writer, data: bytes) -> None:
    for at in range(0, len(data), CHUNK):
        writer.chunk(data[at : at + CHUNK], last=False)


def _discard(incoming: BinaryIO) -> None:
    """Close a file that came in and remove it, unless it has been given its name."""
    path = Path(incoming.name)
    # What a full disk could not take is thrown away: that is no second error. What stays is swept one day.
    with suppress(OSError):
        incoming.close()
    with suppress(OSError):
        path.unlink()


def _checked(header: Header, digest: str) -> Header:
    if header.digest != digest:
        raise Damaged("it holds other content than its name says")
    return header


def _not_found(digest: str) -> NotFound:
    return NotFound(f"there is no content with digest {digest}")


def _damaged(path: Path, why: str) -> Unavailable:
    return Unavailable(
        f"the content in {path} is damaged ({why}): restore the file from a backup, or store the same content again",
        code="object_damaged",
        retry_after=60,
    )
