"""The reference page: the OpenAPI document as plain HTML, without a script, an address elsewhere or a font."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_STYLE = """\
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
summary { cursor: pointer; padding: .35rem 0; font-family: ui-monospace, monospace }
summary b { display: inline-block; min-width: 4.5rem }
summary span { font-family: system-ui, sans-serif; opacity: .75; margin-left: .75rem }
details > div { padding: 0 0 1rem 1rem }
pre { overflow: auto; padding: .75rem; border: 1px solid #8884; border-radius: .4rem }
td, th { text-align: left; padding: .15rem 1rem .15rem 0; vertical-align: top }
"""


def page(document: Mapping[str, Any]) -> str:
    """The whole page."""
    info = document["info"]
    body = "\n".join(_operations(document))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style>"
        f"<h1>{escape(info['title'])} API {escape(info['version'])}</h1><p>{escape(info['description'])}</p>"
        f'<p>For programs: <a href="/openapi.json">openapi.json</a>.</p>{body}</html>'
    )


def _operations(document: Mapping[str, Any]) -> Iterator[str]:
    tagged: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tag = next(iter(operation.get("tags", ["other"])))
            tagged.setdefault(tag, []).append(_operation(path, method, operation))
    for tag, operations in sorted(tagged.items()):
        yield f"<h2>{escape(tag)}</h2>"
        yield from operations


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> str:
    said = "".join(f"<p>{escape(part)}</p>" for part in operation.get("description", "").split("\n\n"))
    rows = "".join(
        f"<tr><td><code>{escape(each['name'])}</code><td>{escape(each['in'])}<td>{escape(each.get('description', ''))}"
        for each in operation.get("parameters", [])
    )
    parameters = f"<table>{rows}</table>" if rows else ""
    return (
        f"<details><summary><b>{method.upper()}</b>{escape(path)}<span>{escape(operation['summary'])}</span></summary>"
        f"<div>{said}{parameters}{_body(operation)}</div></details>"
    )


def _body(operation: Mapping[str, Any]) -> str:
    found = ""
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
        example = f"<pre>{escape(_json(content['example']))}</pre>" if "example" in content else ""
        found += f"<p>Body: {escape(media)} {escape(schema)}</p>{example}"
    return found


def _json(value: Any) -> str:
    import json  # noqa: PLC0415 -- for its indentation; only this page needs it

    return json.dumps(value, indent=2)
