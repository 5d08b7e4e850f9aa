"""Files that are either whole and durable or not there at all."""

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder that only its owner can enter, and those above it, durably. One that is there stays as it is."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir(mode=PRIVATE_FOLDER)
    except FileExistsError:
        return  # another writer was first
    sync_folder(folder.parent)


@contextmanager
def whole_file(path: Path) -> Generator[IO[bytes]]:
    """A file that gets its name when the block ends well; else nothing is left, and what had the name stays."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)  # less whatever the user's mask takes
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 -- it is open already
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:  # cancelled ones too leave nothing behind
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
