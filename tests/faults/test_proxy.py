"""The cutting proxy reads the protocol right, however the bytes arrive."""

import struct

import pytest

from faults.crew.proxy import Commits, Frames


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack(">I", len(body) + 4) + body


STARTUP = struct.pack(">II", 8 + 6, 196608) + b"user\0\0"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_messages_are_found_in_chunks_of_any_size(size: int) -> None:
    sent = [STARTUP, message(b"Q", b"begin\0"), message(b"S", b""), message(b"d", bytes(300))]
    stream = b"".join(sent)
    frames = Frames(startup=True)
    found = [frame for at in range(0, len(stream), size) for frame in frames.feed(stream[at : at + size])]
    assert found == sent


@pytest.mark.parametrize("text", [b"commit", b"COMMIT;", b"select 1; commit", b"insert into t values ('x');\n commit "])
def test_a_simple_query_that_ends_in_commit_is_a_commit(text: bytes) -> None:
    assert Commits().is_commit(message(b"Q", text + b"\0"))


@pytest.mark.parametrize("text", [b"begin", b"rollback", b"select 'commit'", b"select commits", b"commit; select 1"])
def test_anything_else_is_not(text: bytes) -> None:
    assert not Commits().is_commit(message(b"Q", text + b"\0"))


def test_a_prepared_commit_is_a_commit_each_time_it_is_bound() -> None:
    commits = Commits()
    assert not commits.is_commit(message(b"P", b"s1\0commit\0\0\0"))
    assert not commits.is_commit(message(b"P", b"\0select 1\0\0\0"))
    for _ in range(2):
        assert commits.is_commit(message(b"B", b"\0s1\0\0\0\0\0\0\0"))
        assert not commits.is_commit(message(b"B", b"\0\0\0\0\0\0\0\0"))
    assert not commits.is_commit(message(b"P", b"s1\0select 2\0\0\0"))
    assert not commits.is_commit(message(b"B", b"\0s1\0\0\0\0\0\0\0"))
