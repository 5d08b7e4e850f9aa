"""The object store: whole or not at all, addressed by digest, sealed, read by ranges, erased with its key."""

import asyncio
import shutil
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from adapters.objects.format import CHUNK, HEADER, sealed_size
from adapters.objects.local import LocalObjects
from adapters.security.sealing import SEAL_OVERHEAD, MemoryKeyring
from commands.objects import Objects, StoredObject
from domain.errors import NotFound, Refused, Unavailable
from tests.adapters.contents import ADA, BOB, NOBODY, content, digest_of, files, in_pieces

SIZES = [0, 1, 1000, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 20 * CHUNK + 77]


async def ranged(store: Objects, data: bytes, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([piece async for piece in await store.open(ADA, digest_of(data), start=start, end=end)])


@pytest.mark.parametrize("size", SIZES)
async def test_what_is_stored_is_read_again(store: Objects, folder: Path, size: int) -> None:
    data = content(size)
    stored = await store.put(ADA, data)
    assert stored == StoredObject(digest_of(data), size)
    assert await store.read(ADA, stored.digest) == data
    assert await store.exists(ADA, stored.digest)
    assert await store.size(ADA, stored.digest) == size
    assert [path.stat().st_size for path in files(folder)] == [sealed_size(size)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("length", [4096, CHUNK, 3 * CHUNK + 1])
async def test_a_stream_is_stored_like_bytes(store: Objects, size: int, length: int) -> None:
    data = content(size)
    assert await store.put(ADA, in_pieces(data, length)) == StoredObject(digest_of(data), size)
    assert await store.read(ADA, digest_of(data)) == data


async def test_the_address_is_the_plaintexts_digest_under_its_subject(store: Objects, folder: Path) -> None:
    data = b"the plain text"
    digest = (await store.put(ADA, data)).digest
    (path,) = files(folder)
    assert path.relative_to(folder) == Path(ADA.hex, digest[:2], digest)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert all(stat.S_IMODE(each.stat().st_mode) == 0o700 for each in path.parents if each.is_relative_to(folder))
    assert b"plain" not in path.read_bytes()


async def test_storing_again_changes_nothing(store: Objects, folder: Path) -> None:
    data = content(CHUNK + 5)
    await store.put(ADA, data)
    (path,) = files(folder)
    before = path.stat()
    await store.put(ADA, data)
    await store.put(ADA, in_pieces(data))
    assert path.stat().st_ino == before.st_ino
    assert files(folder) == [path]


async def test_writers_of_the_same_content_do_not_disturb_one_another(store: Objects, folder: Path) -> None:
    data = content(3 * CHUNK)
    puts = [store.put(ADA, in_pieces(data) if n % 2 else data) for n in range(12)]
    assert len(set(await asyncio.gather(*puts))) == 1
    assert await store.read(ADA, digest_of(data)) == data
    assert len(files(folder)) == 1


async def test_the_same_content_of_two_subjects_lies_apart(store: Objects, keyring: MemoryKeyring) -> None:
    digest = (await store.put(ADA, b"same")).digest
    assert not await store.exists(BOB, digest)
    await store.put(BOB, b"same")
    await keyring.destroy(BOB)
    assert await store.read(ADA, digest) == b"same"


async def test_any_range_is_that_slice(store: Objects) -> None:
    data = content(3 * CHUNK + 100)
    await store.put(ADA, data)
    edges = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK, 3 * CHUNK + 99, 3 * CHUNK + 100]
    for start in edges:
        assert await ranged(store, data, start) == data[start:]
        for end in edges:
            if start <= end:
                assert await ranged(store, data, start, end) == data[start:end]
    assert await ranged(store, data, 5, 10**9) == data[5:]


@pytest.mark.parametrize(("start", "end"), [(11, None), (-1, 5), (6, 5)])
async def test_a_range_outside_is_refused_before_anything_is_sent(store: Objects, start: int, end: int | None) -> None:
    digest = (await store.put(ADA, b"0123456789")).digest
    with pytest.raises(Refused) as refused:
        await store.open(ADA, digest, start=start, end=end)
    assert refused.value.code == "range_not_satisfiable"


async def test_a_range_reads_only_the_chunks_it_touches(store: Objects, folder: Path) -> None:
    data = content(40 * CHUNK)
    await store.put(ADA, data)
    (path,) = files(folder)
    damaged = bytearray(path.read_bytes())
    damaged[HEADER + 20 * (CHUNK + SEAL_OVERHEAD)] ^= 1
    path.write_bytes(damaged)
    assert await ranged(store, data, CHUNK, 2 * CHUNK) == data[CHUNK : 2 * CHUNK]
    with pytest.raises(Unavailable):
        await ranged(store, data)


async def test_what_was_never_stored_is_not_found(store: Objects, keyring: MemoryKeyring) -> None:
    for subject in (ADA, NOBODY):
        for digest in ("0" * 64, "../../../etc/passwd", "", "A" * 64):
            assert not await store.exists(subject, digest)
            for ask in (store.read, store.size, store.open):
                with pytest.raises(NotFound) as refused:
                    await ask(subject, digest)
                assert refused.value.code == "not_found"
    assert NOBODY not in keyring._sealers, "looking must not make a key"


async def test_only_who_is_about_to_be_created_gets_a_key_by_storing(
    store: Objects, keyring: MemoryKeyring, folder: Path, given_as
) -> None:
    with pytest.raises(NotFound):
        await store.put(NOBODY, given_as(b"a stranger's"))
    assert NOBODY not in keyring._sealers
    assert not files(folder)
    stored = await store.put(NOBODY, given_as(b"a newcomer's"), makes_key=True)
    assert await store.read(NOBODY, stored.digest) == b"a newcomer's"


async def test_content_that_is_not_what_its_digest_says_is_not_given_out(
    store: LocalObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = (await store.put(ADA, b"right")).digest
    monkeypatch.setattr("adapters.objects.format.Header.chunks", lambda *_: b"wrong")
    with pytest.raises(Unavailable, match="another digest"):
        await store.read(ADA, digest)


async def test_a_destroyed_key_erases_the_content(store: Objects, keyring: MemoryKeyring) -> None:
    digest = (await store.put(ADA, b"secret")).digest
    await keyring.destroy(ADA)
    assert not await store.exists(ADA, digest)
    for ask in (store.read, store.size, store.open):
        with pytest.raises(NotFound, match="erased") as refused:
            await ask(ADA, digest)
        assert refused.value.code == "erased"
    with pytest.raises(Refused) as nothing_more:
        await store.put(ADA, b"more")
    assert nothing_more.value.code == "key_destroyed"


async def test_destroying_the_key_ends_an_answer_in_the_middle(store: Objects, keyring: MemoryKeyring) -> None:
    data = content(64 * CHUNK)
    await store.put(ADA, data)
    pieces = await store.open(ADA, digest_of(data))
    assert data.startswith(await anext(pieces))
    await keyring.destroy(ADA)
    with pytest.raises(NotFound, match="erased"):
        await anext(pieces)


# --- damage ---

WHOLE = CHUNK + SEAL_OVERHEAD


def flip(at: int) -> Callable[[bytes], bytes]:
    return lambda raw: raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "another mark": flip(0),
    "another file id": flip(10),
    "another header": flip(40),
    "a flipped bit in a chunk": flip(HEADER + 500),
    "a flipped bit at the end": flip(-1 + HEADER + 3 * WHOLE + 10 + SEAL_OVERHEAD),
    "the last chunk cut off": lambda raw: raw[: HEADER + 3 * WHOLE],
    "the last byte cut off": lambda raw: raw[:-1],
    "cut within the header": lambda raw: raw[: HEADER - 1],
    "nothing left": lambda _: b"",
    "something added": lambda raw: raw + b"\0",
    "chunks swapped": lambda raw: (
        raw[:HEADER]
        + raw[HEADER + WHOLE : HEADER + 2 * WHOLE]
        + raw[HEADER : HEADER + WHOLE]
        + raw[HEADER + 2 * WHOLE :]
    ),
    "a chunk repeated": lambda raw: raw[: HEADER + WHOLE] + raw[HEADER : HEADER + WHOLE] + raw[HEADER + 2 * WHOLE :],
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_damage_is_told_and_mended_by_storing_again(store: Objects, folder: Path, damage: str) -> None:
    data = content(3 * CHUNK + 10)
    await store.put(ADA, data)
    (path,) = files(folder)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with pytest.raises(Unavailable, match="restore the file from a backup") as refused:
        await store.read(ADA, digest_of(data))
    assert refused.value.code == "object_damaged"
    path.unlink()
    await store.put(ADA, data)
    assert await store.read(ADA, digest_of(data)) == data


async def test_a_cut_file_is_mended_by_storing_the_same_again(store: Objects, folder: Path) -> None:
    data = content(3 * CHUNK)
    await store.put(ADA, data)
    (path,) = files(folder)
    path.write_bytes(path.read_bytes()[:-1])
    await store.put(ADA, data)
    assert await store.read(ADA, digest_of(data)) == data


async def test_another_files_content_under_this_name_is_noticed(store: Objects, folder: Path) -> None:
    good, bad = await store.put(ADA, b"approved"), await store.put(ADA, b"rejected")
    paths = {path.name: path for path in files(folder)}
    shutil.copyfile(paths[bad.digest], paths[good.digest])
    for ask in (store.read, store.open, store.exists):
        with pytest.raises(Unavailable, match="other content than its name says"):
            await ask(ADA, good.digest)


async def test_chunks_of_another_file_do_not_fit(store: Objects, folder: Path) -> None:
    one, two = await store.put(ADA, content(CHUNK, 1)), await store.put(ADA, content(CHUNK, 2))
    paths = {path.name: path for path in files(folder)}
    mixed = paths[one.digest].read_bytes()[:HEADER] + paths[two.digest].read_bytes()[HEADER:]
    paths[one.digest].write_bytes(mixed)
    with pytest.raises(Unavailable, match="damaged"):
        await store.read(ADA, one.digest)


# --- crashes ---


async def test_what_a_crash_left_is_swept_and_what_is_being_written_is_not(store: LocalObjects, folder: Path) -> None:
    await store.put(ADA, b"so that the folders are there")
    (folder / "incoming" / "left-behind").write_bytes(b"half")
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield content(2 * CHUNK)
        begun.set()
        await go_on.wait()
        yield b"the end"

    writing = asyncio.create_task(store.put(ADA, slow()))
    await begun.wait()
    assert await asyncio.to_thread(store.sweep) == 1
    go_on.set()
    stored = await writing
    assert await store.read(ADA, stored.digest) == content(2 * CHUNK) + b"the end"
    assert store.sweep() == 0


@pytest.mark.thorough
async def test_sweeping_and_writing_at_the_same_time_loses_nothing(store: LocalObjects) -> None:
    done = False

    def sweep_on() -> None:
        while not done:
            store.sweep()

    sweeping = asyncio.create_task(asyncio.to_thread(sweep_on))
    stored = [await store.put(ADA, f"content {n}".encode()) for n in range(150)]
    done = True
    await sweeping
    assert [await store.read(ADA, each.digest) for each in stored] == [f"content {n}".encode() for n in range(150)]
