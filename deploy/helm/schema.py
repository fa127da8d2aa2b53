"""Writes the settings of `idp/settings.py` into the schema of the chart's values: `python deploy/helm/schema.py`.

The rest of `values.schema.json` is edited by hand.
"""

import json
from pathlib import Path
from typing import Any

from idp.settings import SECRETS, Settings

FILE = Path(__file__).parent / "idp" / "values.schema.json"
#: Settings whose value follows from the chart, or from the image.
OF_THE_CHART = {"data_dir", "dev", "host", "keys_dir", "metrics_address", "migrate_on_start", "port"}
#: What a JSON Schema of pydantic has and the values of a chart need.
_KEPT = ("type", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def _setting(schema: dict[str, Any]) -> dict[str, Any]:
    # An optional value is left out of the values instead of being null.
    (kind,) = [part for part in schema.get("anyOf", [schema]) if part.get("type") != "null"]
    found: dict[str, Any] = {"description": schema["description"]}
    if kind["type"] == "array":
        return found | {"type": ["array", "string"], "items": {"type": "string"}}
    return found | {name: kind[name] for name in _KEPT if name in kind}


def updated(document: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with the current settings."""
    fields = Settings.model_json_schema()["properties"]
    plain = {name: _setting(fields[name]) for name in fields if name not in SECRETS | OF_THE_CHART}
    properties = document["properties"]
    properties["settings"] |= {"properties": plain}
    for name, value in (
        ("secrets", {"type": "string", "minLength": 1}),
        ("existingSecrets", {"$ref": "#/definitions/key"}),
    ):
        described = {
            secret: {"description": fields[secret]["description"]} | value for secret in fields if secret in SECRETS
        }
        properties[name] |= {"properties": described}
    return document


def text() -> str:
    """Return the file as it should be."""
    return json.dumps(updated(json.loads(FILE.read_text())), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
