"""The file of the owner's access key: where the command line finds it, written once, whole and private."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from adapters.durable_files import PRIVATE_FILE, sync_folder
from domain.errors import Refused
from domain.identity.tokens import new_token, parse_token

FILE_NAME = "owner.key"
ANOTHER = "make another with: toybox keys create --owner"


@dataclass(frozen=True, slots=True)
class OwnerKeyFile:
    """Where the owner's token lies."""

    path: Path

    @classmethod
    def of(cls, data_dir: Path) -> "OwnerKeyFile":
        """The file of a data directory."""
        return cls(data_dir / FILE_NAME)

    @property
    def pending(self) -> Path:
        """A token that may or may not have been issued when the process died."""
        return self.path.with_name(f"{FILE_NAME}.new")

    def read(self) -> str | None:
        """The token; None where there is none. Refused when it cannot be one, or cannot be read."""
        try:
            text = self.path.read_text("utf-8").strip()
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise Refused(
                f"{self.path} cannot be read by this account: run toybox as the account that owns it, or give a key of "
                f"your own in TOYBOX_KEY",
                code="owner_key_unreadable",
            ) from error
        if parse_token(text) is None:
            raise Refused(f"{self.path} does not hold an access key: {ANOTHER}", code="owner_key_malformed")
        return text

    def prepare(self) -> str:
        """The token to issue: the one that an interrupted start left, else a new one, on disk before it is issued."""
        if self.pending.exists() and parse_token(text := self.pending.read_text("utf-8").strip()):
            return text
        self.pending.unlink(missing_ok=True)
        token = new_token(secrets.token_bytes)
        descriptor = os.open(self.pending, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(token + "\n")
            file.flush()
            os.fsync(file.fileno())
        return token

    def keep(self) -> None:
        """The prepared token was issued: it is the owner's from now on."""
        self.pending.replace(self.path)
        sync_folder(self.path.parent)

    def forget(self) -> None:
        """The prepared token was not issued: it opens nothing."""
        self.pending.unlink(missing_ok=True)
