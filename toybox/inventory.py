"""What lies in the source tree: every module with its sentence, what it imports and what it names."""

import ast
import importlib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from pkgutil import walk_packages

PACKAGES = ("domain", "commands", "projections", "streams", "api", "adapters", "toybox")
"""The layers, in the order in which an event meets them."""
REGISTERING = ("domain", "commands", "projections", "api.routes", "streams.reactions")
"""Packages whose modules register something when they are imported."""


@dataclass(frozen=True, slots=True)
class Module:
    """One Python file of toybox, as its source tells."""

    name: str
    """Dotted, as imported: `api.routes.budgets`."""
    path: str
    """Relative to the repository: `api/routes/budgets.py`."""
    docstring: str
    imports: frozenset[str]
    """Modules of toybox that it imports."""
    mentions: frozenset[str]
    """Dotted names and plain strings in its code."""

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return self.docstring.partition("\n")[0].strip()

    @property
    def is_package(self) -> bool:
        """Whether this is the `__init__.py` of a folder."""
        return self.path.endswith("__init__.py")

    def inside(self, package: str) -> bool:
        """Whether it is that package or lies anywhere in it."""
        return self.name == package or self.name.startswith(package + ".")

    def part(self, package: str) -> str:
        """Its name directly under a package: `identity` for `domain.identity.access_keys` under `domain`."""
        return self.name.removeprefix(package + ".").partition(".")[0] if self.name != package else ""


def folder(package: str) -> Path:
    """Where a package's files lie, in a checkout or installed."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        msg = f"package {package} is not importable; run from the repository or install toybox"
        raise ModuleNotFoundError(msg)
    return Path(next(iter(spec.submodule_search_locations)))


def _dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([node.id, *reversed(parts)])


def _named(tree: ast.Module) -> tuple[frozenset[str], frozenset[str]]:
    """What a module imports from toybox, and what it mentions."""
    imports, mentions = set[str](), set[str]()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute() | ast.Name():
                mentions.add(_dotted(node))
            case ast.Constant(value=str(text)):
                mentions.add(text)
            case ast.Import():
                imports.update(alias.name for alias in node.names)
            case ast.ImportFrom(module=str(module)):
                imports.add(module)
                imports.update(f"{module}.{alias.name}" for alias in node.names)
            case _:
                pass
    return frozenset(name for name in imports if name.partition(".")[0] in PACKAGES), frozenset(mentions)


def read(file: Path, root: Path) -> Module:
    """One file, parsed and not run."""
    path = file.relative_to(root)
    tree = ast.parse(file.read_bytes(), filename=str(file))
    parts = path.parts[:-1] if file.name == "__init__.py" else (*path.parts[:-1], file.stem)
    imports, mentions = _named(tree)
    return Module(
        name=".".join(parts),
        path=path.as_posix(),
        docstring=ast.get_docstring(tree) or "",
        imports=imports,
        mentions=mentions,
    )


@cache
def modules() -> tuple[Module, ...]:
    """Every module of every layer, by layer and then by path."""
    found: list[Module] = []
    for package in PACKAGES:
        home = folder(package)
        found += [read(file, home.parent) for file in sorted(home.rglob("*.py"))]
    return tuple(found)


@cache
def load() -> None:
    """Import whatever registers itself, so that the registries of events, commands and routes are complete."""
    for package in REGISTERING:
        importlib.import_module(package)
        for found in walk_packages([str(folder(package))], f"{package}."):
            importlib.import_module(found.name)


def under(package: str) -> dict[str, list[Module]]:
    """The files directly under a package, by name; a folder counts as one name with all its files."""
    found: dict[str, list[Module]] = {}
    for module in modules():
        if module.inside(package) and (part := module.part(package)):
            found.setdefault(part, []).append(module)
    return found
