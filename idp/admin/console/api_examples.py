"""Examples of bodies, and commands that send a request, made from the OpenAPI document."""

import shlex
from collections.abc import Mapping
from typing import Any

import msgspec

Schema = Mapping[str, Any]
#: How deep an example goes into objects and lists.
_DEPTH = 4
#: Members of an example whose schema requires none.
_SOME = 3
_STRINGS = {"uuid": "00000000-0000-7000-8000-000000000000", "date-time": "2026-01-01T00:00:00Z", "date": "2026-01-01"}


def resolved(schema: Schema, components: Schema) -> Schema:
    """Return the schema that a reference names, or the schema itself."""
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    return resolved(components[name], components) if name else schema


def example(schema: Schema, components: Schema, depth: int = 0) -> Any:
    """Return a value of a schema: of an object, the members that it requires."""
    schema = resolved(schema, components)
    for member in ("default", "const"):
        if member in schema:
            return schema[member]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        options = [each for each in schema["anyOf"] if each.get("type") != "null"]
        return example(options[0], components, depth) if options else None
    match schema.get("type"):
        case "object":
            return _object(schema, components, depth)
        case "array":
            items = schema.get("items")
            return [example(items, components, depth + 1)] if isinstance(items, dict) and depth < _DEPTH else []
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return False
        case "string":
            return _STRINGS.get(schema.get("format", ""), "string")
    return None


def _object(schema: Schema, components: Schema, depth: int) -> dict[str, Any]:
    properties = schema.get("properties", {})
    names = schema.get("required") or list(properties)[:_SOME]
    if depth >= _DEPTH:
        return {}
    return {name: example(properties[name], components, depth + 1) for name in names if name in properties}


def members(schema: Schema, components: Schema) -> list[tuple[str, str, str, str]]:
    """Return name, type, default and description of the members of an object."""
    schema = resolved(schema, components)
    required = schema.get("required", ())
    return [
        (name, type_in_words(each, components), _default(name, each, required), str(each.get("description", "")))
        for name, each in schema.get("properties", {}).items()
    ]


def _default(name: str, schema: Schema, required: Any) -> str:
    if name in required:
        return "required"
    return msgspec.json.encode(schema["default"]).decode() if "default" in schema else ""


def type_in_words(schema: Schema, components: Schema) -> str:
    """Return the type of a schema, such as ``string or null``."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(type_in_words(each, components) for each in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join("null" if each is None else str(each) for each in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array" and isinstance(schema.get("items"), dict):
        return f"list of {type_in_words(schema['items'], components)}"
    return str(schema.get("format", kind)) if isinstance(kind, str) else " or ".join(kind)


def curl(method: str, url: str, headers: Mapping[str, str], body: str) -> str:
    """Return a command that sends a request with an access token in ``$TOKEN``."""
    parts = [f"curl -X {method} {shlex.quote(url)}", '-H "Authorization: Bearer $TOKEN"']
    parts += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in headers.items()]
    if body:
        parts.append(f"-d {shlex.quote(body)}")
    return " \\\n  ".join(parts)


def python(method: str, url: str, headers: Mapping[str, str], body: str) -> str:
    """Return a program that does the same."""
    sent = ", ".join(f"{name!r}: {value!r}" for name, value in headers.items())
    content = f"\n    content={body!r}," if body else ""
    return f"""import os

import httpx

answer = httpx.request(
    {method!r},
    {url!r},
    headers={{"Authorization": f"Bearer {{os.environ['TOKEN']}}"{", " if sent else ""}{sent}}},{content}
)
print(answer.status_code, answer.text)"""
