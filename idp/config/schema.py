"""The JSON Schema of files (draft 2020-12), for editors and pipelines. Generated from the models of the entries."""

import inspect
from typing import Any, Final

import msgspec

from idp.config.document import VERSION
from idp.config.kinds import KINDS
from idp.oauth.clients.members import describe

TEMPLATE: Final = "#/$defs/{name}"


def schema() -> dict[str, Any]:
    """Return the schema."""
    found, definitions = msgspec.json.schema_components([kind.model for kind in KINDS], ref_template=TEMPLATE)
    describe(definitions["ClientEntry"]["properties"])
    for definition in definitions.values():
        # A struct without words of its own has those of its base class, which are about Python.
        if "description" in definition:
            definition["description"] = inspect.cleandoc(definition["description"]).partition("\n\n")[0]
    sections = {
        kind.section: {"type": "array", "items": each, "description": _words(kind)}
        for kind, each in zip(KINDS, found, strict=True)
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of idp",
        "type": "object",
        "required": ["version"],
        "additionalProperties": False,
        "properties": {"version": {"const": VERSION}, **sections},
        "$defs": definitions,
    }


def _words(kind: object) -> str:
    return inspect.cleandoc(type(kind).__doc__ or "").partition("\n\n")[0].replace("\n", " ")
