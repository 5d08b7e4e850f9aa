"""The master key's file: 32 random bytes that wrap every subject's key, readable by its owner alone."""

import base64
import binascii
import os
import secrets
from pathlib import Path

from adapters.durable_files import PRIVATE_FILE, make_folder, sync_folder
from adapters.security.sealing import KEY_BYTES
from domain.errors import Refused

FILE_NAME = "master.key"
_WIDER_THAN_OWNER = 0o077


def master_key(data_dir: Path) -> bytes:
    """The key in `<data_dir>/master.key`; made on first use, by exactly one of the processes that start together.

    Refused when others may read the file or when it holds anything but a key: a guess could only lose data.
    """
    path = data_dir / FILE_NAME
    if not path.exists():
        _create(path)
    mode = path.stat().st_mode & 0o777
    if mode & _WIDER_THAN_OWNER:
        raise Refused(
            f"{path} can be read by others (mode {mode:04o}): run chmod 600 {path}", code="master_key_exposed"
        )
    return _decode(path)


def _create(path: Path) -> None:
    """Write it beside, then link it into place: the name never stands for half a key, nor for two."""
    make_folder(path.parent)
    beside = path.with_name(f"{FILE_NAME}.{secrets.token_hex(8)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(os.urandom(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(beside, path)
        except FileExistsError:
            return  # another process was first: its key counts
    finally:
        beside.unlink()
    sync_folder(path.parent)


def _decode(path: Path) -> bytes:
    try:
        key = base64.b64decode(path.read_bytes().strip(), validate=True)
    except PermissionError as error:
        raise Refused(
            f"{path} cannot be read by this account: run toybox as the account that owns it",
            code="master_key_unreadable",
        ) from error
    except (binascii.Error, ValueError) as error:
        raise _malformed(path) from error
    if len(key) != KEY_BYTES:
        raise _malformed(path)
    return key


def _malformed(path: Path) -> Refused:
    return Refused(
        f"{path} does not hold a master key (base64 of {KEY_BYTES} bytes): put the right file back from its backup; "
        "without it nothing that was sealed can be read",
        code="master_key_malformed",
    )
