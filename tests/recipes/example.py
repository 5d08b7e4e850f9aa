"""Runs the commands of a page where its reader would: in a shell, on the example, against the tests' own services."""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from streams.topics import Topics
from tests.recipes.pages import Cell
from tests.support.checkout import ROOT
from tests.toybox.programs import PATIENCE, Toybox

BROKER = "localhost:9092"
"""What the pages call the broker."""
TOPICS = re.compile("|".join(re.escape(each.name) + r"\b" for each in Topics.named("toybox")))


class ToolMissing(RuntimeError):
    """The tests cannot run a recipe; says what to do about it."""


class OnDatabase(Toybox):
    """The program on a database of the tests' server."""

    def __init__(self, folder: Path, conninfo: str) -> None:
        super().__init__(folder)
        self.conninfo = conninfo

    def environment(self, **more: str) -> dict[str, str]:
        return super().environment(TOYBOX_DATABASE_URL=self.conninfo, **more)


@dataclass(frozen=True, slots=True)
class Example:
    """A log that is always the same but for its ids and times, and a folder to work in."""

    program: OnDatabase
    folder: Path
    broker: str = BROKER
    prefix: str = "toybox"

    def here(self, text: str) -> str:
        """A command of a page, with the names that its services have in this test."""
        renamed = TOPICS.sub(lambda found: found[0].replace("toybox", self.prefix, 1), text)
        for said, meant in (
            (BROKER, self.broker),
            ("--prefix toybox", f"--prefix {self.prefix}"),
            ('"toybox."', f'"{self.prefix}."'),
        ):
            renamed = renamed.replace(said, meant)
        return renamed

    def shell(self, cell: Cell) -> str:
        """What a command prints; it must succeed, and every part of its pipe."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.here(cell.text)],
            cwd=self.folder,
            env=self.program.environment(**self._tools()),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{cell.page.name}: {cell.text}\n{done.stdout}\n{done.stderr}"
        return done.stdout.replace(f"{self.prefix}.", "toybox.")

    def _tools(self) -> dict[str, str]:
        """`toybox` and `python` are those that run the tests; the examples lie where a checkout has them."""
        examples = self.folder / "examples"
        if not examples.exists():
            examples.symlink_to(ROOT / "examples")
        tools = self.folder / ".tools"
        tools.mkdir(exist_ok=True)
        for name, command in (("toybox", f"{sys.executable} -m toybox"), ("python", sys.executable)):
            script = tools / name
            script.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec {command} "$@"\n')
            script.chmod(0o755)
        return {"PATH": f"{tools}:{self.program.environment()['PATH']}"}


def require(*tools: str) -> None:
    """The programs that a page needs."""
    if missing := [each for each in tools if shutil.which(each) is None]:
        raise ToolMissing(
            f"the recipes need {' and '.join(missing)}: install it (Debian, Ubuntu: apt-get install "
            f"{' '.join(missing)}; macOS: brew install {' '.join(missing)})"
        )
