"""What may change about a published JSON Schema without hurting anybody: new optional fields, and prose."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

Schema = Mapping[str, Any]
_PROSE: Final = {"title", "description", "examples", "$comment", "$schema", "$id", "$defs", "$ref"}
_FIELDS: Final = {"properties", "required"}
_INNER: Final = ("items", "additionalProperties")
_CHOICES: Final = ("anyOf", "oneOf", "allOf", "prefixItems")


def breaks(published: Schema, present: Schema) -> list[str]:
    """What would break: readers of the published schema by new records, readers of the present one by old records."""
    return list(_Comparison(published, present).differences(published, present, "value"))


class _Comparison:
    """Walks both schemas at once; references are followed, each pair of them once."""

    def __init__(self, published: Schema, present: Schema) -> None:
        self._published, self._present = published, present
        self._seen: set[tuple[str, str]] = set()

    def differences(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        pair = (str(old.get("$ref", "")), str(new.get("$ref", "")))
        if any(pair):
            if pair in self._seen:
                return
            self._seen.add(pair)
            old, new = _followed(old, self._published), _followed(new, self._present)
        yield from self._of_keywords(old, new, path)
        yield from self._of_fields(old, new, path)

    def _of_keywords(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        # What is equal may still refer to definitions that are not: only leaves are compared as they stand.
        for keyword in sorted((old.keys() | new.keys()) - _PROSE - _FIELDS):
            before, after = old.get(keyword), new.get(keyword)
            if keyword.startswith("x-"):
                continue
            if keyword in _INNER and isinstance(before, Mapping) and isinstance(after, Mapping):
                inner = cast("tuple[Schema, Schema]", (before, after))
                yield from self.differences(*inner, f"{path}[]" if keyword == "items" else f"{path}.*")
            elif keyword in _CHOICES and len(cast("list[Any]", before or [])) == len(cast("list[Any]", after or [])):
                choices = cast("tuple[Sequence[Schema], Sequence[Schema]]", (before, after))
                for one, other in zip(*choices, strict=True):
                    yield from self.differences(one, other, path)
            elif before != after:
                yield f"{path}: {keyword} was {_spelled(before)} and is {_spelled(after)}"

    def _of_fields(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        before, after = _mapping(old.get("properties")), _mapping(new.get("properties"))
        needed, needed_now = set(old.get("required", ())), set(new.get("required", ()))
        for name in sorted(before.keys() | after.keys()):
            place = f"{path}.{name}"
            if name not in after:
                yield f"{place} is gone"
                continue
            if name in before:
                yield from self.differences(before[name], after[name], place)
            if name in needed - needed_now:
                yield f"{place} may be missing now"
            if name in needed_now - needed:
                yield f"{place} is required now, and older records lack it"


def _followed(schema: Schema, root: Schema) -> Schema:
    while "$ref" in schema:
        found: Any = root
        for part in filter(None, str(schema["$ref"]).removeprefix("#").split("/")):
            found = found[part]
        schema = {name: value for name, value in schema.items() if name != "$ref"} | dict(found)
    return schema


def _mapping(value: Any) -> Mapping[str, Schema]:
    return cast("Mapping[str, Schema]", value) if isinstance(value, Mapping) else {}


def _spelled(value: Any) -> str:
    return "absent" if value is None else repr(value)
