"""The tree keeps its promises: small files, plain names, one spelling of a context in every layer."""

import ast
import re
from pathlib import Path

import pytest

from domain.kernel import EVENT_TYPES
from tests.support.checkout import ROOT, sources
from toybox.contexts import context_names
from toybox.inventory import load, modules, under

MAX_LINES = 400
BANNED = {"util", "utils", "helper", "helpers", "common", "base", "manager", "managers", "misc"}
LAYERS = {"commands": "commands", "projections": "projections", "api.routes": "routes"}
"""Layers in which a context has a file, and the word by which its docstring may decline: "No routes: ..."."""
DOCSTRING = re.compile(r'"""[^\s"\\][^"\\]*"""\n')
"""How nearly all of them begin; the others are parsed."""
GENERATED = ("web/src/client/",)


def spelling(name: str) -> str:
    """What a name would be without plural and underscores: two names with the same one mean the same thing."""
    plain = re.sub(r"[_\d]", "", name.lower())
    return re.sub(r"(ies|y|es|s)$", "", plain)


def misspelled(names: set[str], contexts: set[str]) -> dict[str, str]:
    """Names that mean a context and spell it differently."""
    proper = {spelling(context): context for context in contexts}
    return {name: proper[spelling(name)] for name in names if name not in contexts and spelling(name) in proper}


def declines(docstring: str, word: str) -> bool:
    """Whether a docstring says why its context has nothing in a layer."""
    return re.search(rf"\bNo {word}\b[^.]*\w", docstring) is not None


def test_no_source_file_is_longer_than_a_reader_can_hold() -> None:
    long = {
        str(path): lines
        for path in sources(".py", ".sql", ".ts", ".tsx", ".css")
        if not str(path).startswith(GENERATED) and (lines := len((ROOT / path).read_bytes().splitlines())) > MAX_LINES
    }
    assert not long, f"split these at {MAX_LINES} lines; a module may become a folder of the same name: {long}"


def test_no_file_or_folder_has_a_name_that_says_nothing() -> None:
    vague = [
        str(path)
        for path in sources(".py")
        if BANNED & {word for part in path.with_suffix("").parts for word in part.split("_")}
    ]
    assert not vague, f"name these for what they hold: {vague}"


def test_every_module_says_in_its_first_line_what_it_is_for() -> None:
    silent = [
        str(path)
        for path in sources(".py")
        if not (DOCSTRING.match(text := (ROOT / path).read_text("utf-8")) or ast.get_docstring(ast.parse(text)))
    ]
    assert not silent, f"give these a one-line docstring: {silent}"


def test_every_folder_of_tests_is_a_package() -> None:
    folders = {parent for path in sources(".py") for parent in path.parents if parent.parts[:1] == ("tests",)}
    bare = sorted(str(folder) for folder in folders if not (ROOT / folder / "__init__.py").is_file())
    assert not bare, f"add __init__.py, or tests of the same name hide one another: {bare}"


@pytest.mark.parametrize("layer", ["domain", *LAYERS])
def test_a_context_is_spelled_the_same_in_every_layer(layer: str) -> None:
    wrong = misspelled(set(under(layer)), set(context_names()))
    assert not wrong, f"rename these files of {layer} to their context: {wrong}"


def test_tests_spell_contexts_as_the_layers_do() -> None:
    names = {path.stem.removeprefix("test_") for path in sources(".py") if path.stem.startswith("test_")}
    wrong = misspelled(names, set(context_names()))
    assert not wrong, f"rename these test files to their context: {wrong}"


def test_a_context_is_in_every_layer_or_says_why_not() -> None:
    docstrings = {
        name: " ".join(each.docstring for each in files if each.name == f"domain.{name}")
        for name, files in under("domain").items()
    }
    missing = [
        f"{layer.replace('.', '/')}/{context}.py"
        for context in context_names()
        for layer, word in LAYERS.items()
        if context not in under(layer) and not declines(docstrings[context], word)
    ]
    assert not missing, f"write these, or say why not in the docstring of the domain module (No routes: ...): {missing}"


def test_every_domain_event_lives_in_a_module_that_the_map_knows() -> None:
    load()
    known = {each.name for each in modules()}
    assert {kind.__module__ for kind in EVENT_TYPES.values() if kind.__module__.startswith("domain.")} <= known


@pytest.mark.parametrize(
    ("name", "context"),
    [("budget", "budgets"), ("llmjobs", "llm_jobs"), ("llm_job", "llm_jobs"), ("identities", "identity")],
)
def test_a_near_miss_of_a_context_is_noticed(name: str, context: str) -> None:
    assert misspelled({name, context, "costs"}, {context}) == {name: context}


def test_a_layer_is_declined_in_words_only() -> None:
    assert declines("Prices. No routes: they are read with the provider's.", "routes")
    assert not declines("Prices and their routes.", "routes")


def test_paths_are_relative_to_the_repository() -> None:
    assert all((ROOT / each.path).is_file() and not Path(each.path).is_absolute() for each in modules())
