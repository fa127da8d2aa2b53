"""JSON Schemas of authorization details (draft 2020-12)."""

import json
from typing import Any
from urllib.parse import unquote

from idp.errors import ValidationError
from idp.infra.json_schema import validator

MAX_LENGTH = 16 * 1024
#: Maximum number of schemas inside a schema, each as often as references lead to it.
MAX_SCHEMAS = 2000
#: Keywords whose values are no schemas. Those of ``$defs`` count where references lead to them.
_NO_SCHEMAS = frozenset({"$defs", "definitions", "const", "enum", "examples", "default"})
#: Keywords whose values are schemas by name.
_BY_NAME = frozenset({"properties", "patternProperties", "dependentSchemas"})


class InvalidSchemaError(ValidationError):
    """The JSON Schema of a type is not valid, or does not say what its objects may contain."""

    code = "invalid_schema"
    field = "schema"


def accepts(schema: str, value: dict[str, Any]) -> bool:
    """Return whether a schema that :func:`check` accepted accepts an object."""
    return validator(schema).is_valid(value)


def normal(schema: Any) -> str:
    """Return a schema as JSON, equal for equal schemas."""
    return json.dumps(schema, sort_keys=True)


def check(schema: str) -> str:
    """Return the schema of a type in its stored form.

    It must refuse members that it does not name: RFC 9396 section 5 requires that objects with unknown members are
    refused.

    Raises:
        InvalidSchemaError: it is not a schema of objects with a ``type``, or accepts unknown members.
    """
    if len(schema) > MAX_LENGTH:
        raise InvalidSchemaError(f"The schema must not be longer than {MAX_LENGTH // 1024} KiB.")
    try:
        parsed = json.loads(schema)
        stored = normal(parsed)
        validator(stored)
    except (ValueError, RecursionError) as error:
        raise InvalidSchemaError(
            "This is not a JSON Schema of draft 2020-12, refers to another document, or has a pattern that cannot be"
            " matched in linear time."
        ) from error
    if not isinstance(parsed, dict) or parsed.get("type") != "object" or "type" not in parsed.get("properties", {}):
        raise InvalidSchemaError('The schema must have "type": "object", and type among its properties.')
    if not _is_bounded(parsed):
        raise InvalidSchemaError(
            f"The schema has more than {MAX_SCHEMAS} parts, or references that multiply, lead back, or are not such as"
            " #/$defs/amount."
        )
    if False not in (parsed.get("additionalProperties"), parsed.get("unevaluatedProperties")):
        raise InvalidSchemaError('The schema must refuse unknown members: "additionalProperties": false.')
    if "\\u0000" in stored:
        raise InvalidSchemaError("The schema contains a NUL character.")
    return stored


def _is_bounded(schema: dict[str, Any]) -> bool:
    """Return whether the work for one object is bounded: references can double it at each step, or never end."""
    waiting: list[Any] = [schema]
    for _ in range(MAX_SCHEMAS):
        if not waiting:
            return True
        part = waiting.pop()
        for name, value in part.items():
            if isinstance(value, str) and name in ("$ref", "$dynamicRef", "$recursiveRef"):
                target = _target(schema, value) if name == "$ref" else None
                if target is None:
                    return False
                waiting.append(target)
            elif name not in _NO_SCHEMAS:
                inner = list(value.values()) if name in _BY_NAME and isinstance(value, dict) else _values(value)
                waiting += [each for each in inner if isinstance(each, dict)]
    return False


def _values(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _target(schema: dict[str, Any], reference: str) -> dict[str, Any] | None:
    """Return the part of a schema that a JSON Pointer in a fragment names (RFC 6901 section 6); None for none."""
    if not reference.startswith("#/"):
        return None
    found: Any = schema
    for step in unquote(reference[2:]).split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None
