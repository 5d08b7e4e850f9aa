"""Flat top-level packages stay safe: nobody else ships the names, everything is declared, nothing runs at import."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Container
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.checkout import ROOT, sources
from toybox.inventory import PACKAGES, modules

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCK = (ROOT / "requirements.lock").read_text("utf-8")
COMES_WITH = {
    "aiokafka": "faust-streaming",
    "click": "typer",
    "httpcore2": "httpx2",
    "mode": "faust-streaming",
    "psycopg_pool": "psycopg",
    "pydantic_core": "pydantic",
    "starlette": "fastapi",
    "yarl": "faust-streaming",
}
"""Modules whose version a declared dependency decides."""
IMPORT_ALL = """
import importlib, os, sys
read = set()
lookup = type(os.environ).__getitem__
def watched(self, key):
    read.add(key)
    return lookup(self, key)
type(os.environ).__getitem__ = watched
sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    importlib.import_module(name)
print(*sorted(key for key in read if key.startswith(("TOYBOX_", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OPENROUTER_"))))
"""


def requirements() -> list[Requirement]:
    """Everything that pyproject.toml asks for, at run time and in groups."""
    groups = [each for group in PROJECT["dependency-groups"].values() for each in group]
    return [Requirement(text) for text in (*PROJECT["project"]["dependencies"], *groups)]


def pinned() -> dict[str, str]:
    """The versions in the lock."""
    return {canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+)", LOCK, re.MULTILINE)}


def imported_from_outside(declared: Container[str]) -> dict[str, str]:
    """Top-level modules that our packages import and neither own nor declare, each with a file that does."""
    found: dict[str, str] = {}
    for path in sources(".py"):
        text = (ROOT / path).read_text("utf-8") if path.parts[0] in PACKAGES else ""
        if all(name in declared for name in {*re.findall(r"^ *(?:from|import) (\w+)", text, re.MULTILINE)}):
            continue  # a few files have such words in their prose, too: only those are parsed
        for node in ast.walk(ast.parse(text)):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            found |= {name.partition(".")[0]: str(path) for name in names}
    return {name: path for name, path in found.items() if name not in declared}


def test_no_dependency_ships_one_of_our_names() -> None:
    ours = {*PACKAGES, "tests", "bench", "faults"}
    clashes = {name: set(shippers) - {"toybox"} for name, shippers in packages_distributions().items() if name in ours}
    assert not any(clashes.values()), f"drop or replace these distributions: {clashes}"


def test_no_package_hides_one_of_the_standard_library() -> None:
    assert not sys.stdlib_module_names & set(PACKAGES)


def test_the_wheel_ships_every_package() -> None:
    assert tuple(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == PACKAGES
    assert tuple(PROJECT["tool"]["importlinter"]["root_packages"]) == PACKAGES


@pytest.mark.process
def test_every_module_imports_in_an_empty_environment_and_reads_no_setting() -> None:
    names = [each.name for each in modules() if not each.name.endswith("__main__")]
    ran = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, str(ROOT), *names], env={}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert not ran.stdout.split(), f"settings read while importing: {ran.stdout}"


def test_what_is_imported_at_run_time_is_declared() -> None:
    declared = {canonicalize_name(Requirement(text).name) for text in PROJECT["project"]["dependencies"]}
    known = {
        name
        for name, shippers in packages_distributions().items()
        if COMES_WITH.get(name) in declared or not declared.isdisjoint(map(canonicalize_name, shippers))
    }
    undeclared = imported_from_outside({*PACKAGES, *sys.stdlib_module_names, *declared, *known})
    assert not undeclared, f"add these to [project] dependencies and run `make lock`: {undeclared}"


def test_the_lock_satisfies_every_requirement() -> None:
    versions = pinned()
    stale = [
        str(each)
        for each in requirements()
        if not each.specifier.contains(versions.get(canonicalize_name(each.name), "0"), prereleases=True)
    ]
    assert not stale, f"run `make lock`: {stale}"


def test_every_pin_carries_a_hash() -> None:
    entries = re.split(r"\n(?=[\w.-]+==)", LOCK)[1:]
    # A package may be pinned once for older and once for newer Pythons.
    assert {entry.partition("==")[0] for entry in entries} == set(re.findall(r"^([\w.-]+)==", LOCK, re.MULTILINE))
    assert len(pinned()) > len(requirements())
    assert not [entry.partition(" ")[0] for entry in entries if "--hash=sha256:" not in entry]


@pytest.mark.parametrize("word", ["--index-url", "--find-links", "--extra-index-url", " @ "])
def test_the_lock_names_no_place_to_download_from(word: str) -> None:
    assert word not in LOCK
