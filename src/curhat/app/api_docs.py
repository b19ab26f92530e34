"""Shows the HTTP contract as a page at /api/docs, in development only.

The server generates the page as plain HTML. The page needs no script and loads no further file. So the page's content
security policy allows only the style sheet in the page. The policy identifies this style sheet by its hash.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

from litestar import MediaType, Request, Response, get

_STYLE: Final = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
summary { cursor: pointer; padding: .25rem 0; }
summary > code { font-weight: 600; }
.method { display: inline-block; text-transform: uppercase; width: 4.5rem; }
details > :not(summary) { margin-left: 1.5rem; }
table { border-collapse: collapse; }
td, th { border-bottom: 1px solid #8885; padding: .25rem .75rem .25rem 0; text-align: left; vertical-align: top; }
:target { background: #fc02; }
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)

Json = Mapping[str, Any]


@get("/api/docs", include_in_schema=False, media_type=MediaType.HTML, sync_to_thread=False)
def read_api_docs(request: Request[Any, Any, Any]) -> Response[str]:
    """Return the page that shows the contract of this application."""
    text = page(request.app.openapi_schema.to_schema())
    return Response(text, media_type=MediaType.HTML, headers={"content-security-policy": POLICY})


def page(contract: Json) -> str:
    """Return the HTML page for an OpenAPI document."""
    operations: dict[str, list[str]] = {}
    for path, methods in contract["paths"].items():
        for method, operation in methods.items():
            html = "".join(_operation(path, method, operation))
            operations.setdefault(operation["tags"][0], []).append(html)
    schemas = contract["components"]["schemas"]
    title = escape(f"{contract['info']['title']} API")
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>',
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style>',
        f"<main><h1>{title}</h1><p>{_text(contract['info']['description'])}</p>",
        '<p><a href="/api/openapi.json">OpenAPI document</a>; a link in an operation leads to its data type below.</p>',
    ]
    for tag in sorted(operations):
        parts += [f"<h2>{escape(tag)}</h2>", *operations[tag]]
    parts.append("<h2>Data types</h2>")
    parts += [
        f'<section id="{escape(name)}"><h3>{escape(name)}</h3>{_fields(schemas[name])}</section>'
        for name in sorted(schemas)
    ]
    return "\n".join(parts) + "</main></html>\n"


def _operation(path: str, method: str, operation: Json) -> Iterator[str]:
    yield f'<details id="{escape(operation["operationId"])}"><summary><code><span class="method">{method}</span> '
    yield f"{escape(path)}</code> {_text(operation.get('description', ''))}</summary>"
    signed_in_by = [name for way in operation.get("security", ()) for name in way]
    yield f"<p>Signed in by: {escape(' or '.join(signed_in_by) or 'nothing; anybody may call it')}</p>"
    yield "<table>"
    for parameter in operation.get("parameters", ()):
        need = "required" if parameter.get("required") else "optional"
        name = f"{parameter['in']} <code>{escape(parameter['name'])}</code>, {need}"
        yield _row(name, _type(parameter["schema"]), _text(parameter.get("description", "")))
    for content in operation.get("requestBody", {}).get("content", {}).values():
        yield _row("body", _type(content["schema"]), "")
    for status, response in sorted(operation["responses"].items()):
        kinds = [_type(content["schema"]) for content in response.get("content", {}).values()]
        yield _row(f"<b>{status}</b>", ", ".join(kinds) or _text(response["description"]), "")
    yield "</table></details>"


def _fields(schema: Json) -> str:
    if "properties" not in schema:
        return f"<p>{_type(schema)}</p>"
    required = schema.get("required", ())
    rows = [
        _row(f"<code>{escape(name)}</code>", _type(field), "" if name in required else "optional")
        for name, field in schema["properties"].items()
    ]
    return f"<p>{_text(schema.get('description', ''))}</p><table>{''.join(rows)}</table>"


def _type(schema: Json) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    for several, word in (("oneOf", " or "), ("anyOf", " or "), ("allOf", " with ")):
        if several in schema:
            kinds = [_type(kind) for kind in schema[several] if kind.get("type") != "null"]
            return word.join(kinds) + (" or null" if len(kinds) < len(schema[several]) else "")
    if "enum" in schema:
        values = ("null" if value is None else escape(str(value)) for value in schema["enum"])
        return " | ".join(f"<code>{value}</code>" for value in values)
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if "properties" in schema:
        return ", ".join(f"{escape(name)}: {_type(field)}" for name, field in schema["properties"].items())
    limits = [f"{name} {schema[name]}" for name in _LIMITS if name in schema]
    return escape(", ".join([str(schema.get("format", schema.get("type", "anything"))), *limits]))


_LIMITS: Final = (
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "pattern",
    "default",
)


def _row(*cells: str) -> str:
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _text(markdown: str) -> str:
    """Escape a description as HTML. Put text in backticks into a <code> element."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(markdown))
