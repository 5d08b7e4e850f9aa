"""The official AsyncAPI parser, from its locked npm package: installed once into the user's cache, run by Node."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.support.checkout import ROOT

HERE = ROOT / "tests" / "support" / "asyncapi"
SECONDS = 300


class ParserMissing(RuntimeError):
    """The tests cannot have the parser; says what to do about it."""


def program(name: str) -> str:
    """Node or npm, from the PATH."""
    if not (found := shutil.which(name)):
        raise ParserMissing(
            f"the tests check the AsyncAPI document with its official parser and need {name} (Node 20 or newer): "
            f"install Node.js with npm (Debian, Ubuntu: apt-get install nodejs npm)"
        )
    return found


def installed() -> Path:
    """The folder with the parser, from the user's cache; fetched by npm when the lock file is new."""
    lock = HERE / "package-lock.json"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "toybox"
    folder = cache / f"asyncapi-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    if folder.is_dir():
        return folder
    npm = program("npm")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as made:
        fresh = Path(made) / "parser"
        fresh.mkdir()
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, fresh)
        fetch = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(fetch, cwd=fresh, capture_output=True, text=True, check=False, timeout=SECONDS)
        if done.returncode:
            raise ParserMissing(
                f"npm could not fetch the AsyncAPI parser ({(done.stdout + done.stderr).strip()[-600:]}): see that "
                f"this machine reaches its npm registry, or run the other tests: make test-fast"
            )
        try:
            fresh.rename(folder)
        except OSError:  # another session was faster
            if not folder.is_dir():
                raise
    return folder


def parse(parser: Path, file: Path) -> dict[str, Any]:
    """What the parser says of a document: version, diagnostics, messages with their payloads, references resolved."""
    run = [program("node"), str(HERE / "parse.mjs"), str(parser), str(file)]
    done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)
