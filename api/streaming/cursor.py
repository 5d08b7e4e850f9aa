"""How far a client has got with one job: so many events, so many characters of this attempt. Any process can go on."""

import re
import zlib
from dataclasses import dataclass, replace
from typing import Final

from api.errors import Invalid

_ID: Final = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,12})\.([0-9a-f]{8})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The id of a message, which says what its reader has: enough to go on without a gap or a double."""

    version: int = 0
    """Of the job's events, up to this one."""
    attempt: int = 0
    """Whose text it is; 0 before any has begun."""
    characters: int = 0
    check: int = 0
    """CRC-32 of that text: tells a reader that holds something else than the answer."""

    @property
    def id(self) -> str:
        """As it goes over the wire."""
        return f"{self.version}.{self.attempt}.{self.characters}.{self.check:08x}"

    @classmethod
    def of(cls, said: str) -> "Cursor | None":
        """From a `Last-Event-ID`; None where there is none."""
        said = said.strip()
        if not said:
            return None
        if (found := _ID.fullmatch(said)) is None:
            message = "give the id of the last message that you got of this job's stream, such as 3.1.120.9ae0daaf"
            raise Invalid([{"in": "header", "field": "Last-Event-ID", "message": message, "code": "invalid_id"}])
        version, attempt, characters = (int(each) for each in found.groups()[:3])
        return cls(version, attempt, characters, int(found[4], 16))

    def after_event(self) -> "Cursor":
        """One event further."""
        return replace(self, version=self.version + 1)

    def begun(self, attempt: int) -> "Cursor":
        """Before the first character of an attempt: what was read of another is void."""
        return replace(self, attempt=attempt, characters=0, check=0)

    def after_text(self, text: str) -> "Cursor":
        """So much text further."""
        return replace(self, characters=self.characters + len(text), check=zlib.crc32(text.encode(), self.check))

    def fits(self, text: str) -> bool:
        """Whether what was read is how this text begins."""
        return self.characters <= len(text) and zlib.crc32(text[: self.characters].encode()) == self.check
