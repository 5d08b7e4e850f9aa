"""The master key: 32 random bytes that wrap every other key; in a file that its owner alone reads, or given to us."""

import base64
import binascii
import os
import secrets
from pathlib import Path

from pydantic import SecretStr

from adapters.durable_files import PRIVATE_FILE, make_folder, sync_folder
from adapters.security.sealing import KEY_BYTES
from domain.errors import Refused

FILE_NAME = "master.key"
VARIABLE = "TOYBOX_MASTER_KEY"
_WIDER_THAN_OWNER = 0o077


def master_key(data_dir: Path, given: SecretStr | None = None) -> bytes:
    """The key that was given, else that in `<data_dir>/master.key`.

    The file is made on first use, by exactly one of the processes that start together. Refused when others may read
    it or when either holds anything but a key: a guess could only lose data.
    """
    if given is not None:
        return _decode(given.get_secret_value().encode(), VARIABLE)
    path = data_dir / FILE_NAME
    if not path.exists():
        _create(path)
    mode = path.stat().st_mode & 0o777
    if mode & _WIDER_THAN_OWNER:
        raise Refused(
            f"{path} can be read by others (mode {mode:04o}): run chmod 600 {path}", code="master_key_exposed"
        )
    return _decode(_content(path), str(path))


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


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except PermissionError as error:
        raise Refused(
            f"{path} cannot be read by this account: run toybox as the account that owns it",
            code="master_key_unreadable",
        ) from error


def _decode(text: bytes, where: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _malformed(where) from error
    if len(key) != KEY_BYTES:
        raise _malformed(where)
    return key


def _malformed(where: str) -> Refused:
    return Refused(
        f"{where} does not hold a master key (base64 of {KEY_BYTES} bytes): put the right one back from its backup; "
        "without it nothing that was sealed can be read",
        code="master_key_malformed",
    )
