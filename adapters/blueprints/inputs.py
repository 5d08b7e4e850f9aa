"""The inputs of a run: what was given on the command line or in a request, completed by defaults and checked."""

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from adapters.blueprints.language import Scalar
from domain.blueprints import Blueprint, BlueprintError, InputSpec, Problem, closest

_NUMBER = re.compile(r"[-+]?[0-9]{1,30}(\.[0-9]{1,30})?")


class _Wrong(Exception):
    """One input cannot be used: what is wrong, and the fix."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


def parse_input_flags(flags: Sequence[str]) -> dict[str, str]:
    """`["topic=tides", "notes=@notes.md"]` as a mapping, as `--input` gives them."""
    given: dict[str, str] = {}
    problems: list[Problem] = []
    for flag in flags:
        name, sign, value = flag.partition("=")
        if not sign or not name:
            problems.append(Problem(f"'{flag}' gives no input", "write --input NAME=VALUE or --input NAME=@FILE"))
        elif name in given:
            problems.append(Problem(f"the input '{name}' is given twice", f"keep one --input {name}=..."))
        given[name] = value
    if problems:
        raise BlueprintError(problems)
    return given


def resolve_inputs(
    blueprint: Blueprint, given: Mapping[str, str], *, base_dir: Path | None, files: bool = True
) -> dict[str, Scalar]:
    """Every declared input with its value, an optional one that is missing as empty text.

    With `files`, `@path` stands for the content of a file (`@@` for a real `@`), and a file's default is looked up in
    `base_dir`. Without, values are taken as they are: a server never reads a file that a request names.
    """
    values: dict[str, Scalar] = {}
    problems = [
        Problem(f"there is no input '{name}'", closest(name, blueprint.inputs, "input"), ("inputs", name))
        for name in given
        if name not in blueprint.inputs
    ]
    for name, spec in blueprint.inputs.items():
        try:
            values[name] = _value(name, spec, given.get(name), base_dir, files=files)
        except _Wrong as wrong:
            problems.append(Problem(str(wrong), wrong.fix, ("inputs", name)))
    if problems:
        raise BlueprintError(problems)
    return values


def default_problems(blueprint: Blueprint) -> Iterator[Problem]:
    """Defaults that do not fit what their input declares."""
    for name, spec in blueprint.inputs.items():
        path = ("inputs", name, "default")
        try:
            if spec.default is None:
                continue
            if spec.type == "number":
                _number(name, str(spec.default))
            elif not isinstance(spec.default, str):
                raise _Wrong(f"the default of input '{name}' should be text", f'put it in quotes: "{spec.default}"')
            elif spec.type == "text":
                _fitting(name, spec, spec.default)
        except _Wrong as wrong:
            yield Problem(str(wrong), wrong.fix, path)


def _value(name: str, spec: InputSpec, given: str | None, base_dir: Path | None, *, files: bool) -> Scalar:
    if given is None:
        return _default(name, spec, base_dir if files else None)
    if files and given.startswith("@@"):
        given = given[1:]
    elif files and given.startswith("@"):
        given = _content(name, spec, Path(given[1:]))
    elif files and spec.type == "file":
        raise _Wrong(f"the input '{name}' is a file", f"name it with --input {name}=@{given or 'FILE'}")
    _fitting(name, spec, given)
    return _number(name, given.strip()) if spec.type == "number" else given


def _default(name: str, spec: InputSpec, base_dir: Path | None) -> Scalar:
    if spec.default is None:
        if spec.required:
            value = "@FILE" if spec.type == "file" else "VALUE"
            raise _Wrong(f"the input '{name}' is missing ({spec.description})", f"add --input {name}={value}")
        return ""
    if spec.type == "number":
        return _number(name, str(spec.default))
    text = str(spec.default)
    if spec.type == "text":
        return text
    if base_dir is None:
        raise _Wrong(f"the input '{name}' is missing ({spec.description})", f"send the content of {text}")
    return _fitting(name, spec, _content(name, spec, _inside(name, base_dir, text)))


def _inside(name: str, folder: Path, text: str) -> Path:
    try:
        path = (folder / text).resolve()
        inside = path.is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # a circle of links, or no path at all
        inside = False
    if not inside:
        # A blueprint from elsewhere must not be able to send this machine's files to a model unasked.
        fix = f"name the file yourself: --input {name}=@{text}"
        raise _Wrong(f"the default of input '{name}' lies outside of the blueprint's folder", fix)
    return folder / text


def _content(name: str, spec: InputSpec, path: Path) -> str:
    fix = f"name a readable text file with --input {name}=@FILE"
    try:
        if not path.is_file():
            said = "is not a regular file" if path.exists() else "does not exist"
            raise _Wrong(f"the input '{name}': {path} {said}", fix)
        with path.open("rb") as file:
            content = file.read(spec.max_bytes + 4)
        if len(content) > spec.max_bytes + 3:  # a byte order mark does not count
            raise _too_large(name, spec)
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Wrong(f"the input '{name}': {path} is not UTF-8 text", "save it as UTF-8") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise _Wrong(f"the input '{name}': {path} cannot be read: {reason}", fix) from error


def _fitting(name: str, spec: InputSpec, text: str) -> str:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise _Wrong(f"the input '{name}' is not UTF-8 text", "pass it as UTF-8, or as a file") from error
    if size > spec.max_bytes:
        raise _too_large(name, spec)
    if "\0" in text:
        raise _Wrong(f"the input '{name}' contains U+0000", "pass text, not binary data")
    return text


def _too_large(name: str, spec: InputSpec) -> _Wrong:
    return _Wrong(f"the input '{name}' is larger than {spec.max_bytes:,} bytes", "shorten it, or raise its max_bytes")


def _number(name: str, text: str) -> int | Decimal:
    if not _NUMBER.fullmatch(text):
        raise _Wrong(f"the input '{name}' is not a number: '{text[:60]}'", f"write --input {name}=3 or {name}=0.25")
    return Decimal(text) if "." in text else int(text)
