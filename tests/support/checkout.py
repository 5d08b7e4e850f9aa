"""The repository as git sees it: which files it holds or is about to hold."""

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@cache
def listed() -> tuple[Path, ...]:
    """Every file that is committed or would be by `git add .`, relative to the root."""
    # A checkout may belong to somebody else than the user who tests it.
    asked = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    answer = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, f"tests read the file list from git; run them in a clone: {answer.stderr}"
    paths = [Path(name) for name in answer.stdout.split("\0") if name]
    return tuple(sorted({path for path in paths if (ROOT / path).is_file()}))


def sources(*suffixes: str) -> list[Path]:
    """The files with one of these endings."""
    return [path for path in listed() if path.suffix in suffixes]
