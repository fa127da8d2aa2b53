"""The OpenAPI document describes every operation, and nothing else."""

import re
from collections.abc import Iterator
from typing import Any

from idp.admin.api.openapi import document
from idp.admin.roles import Permission
from tests.admin.api.conftest import API
from tests.support.routes import routes


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object of the document."""
    if isinstance(value, dict):
        yield value
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from objects(inner)


def test_every_route_is_documented() -> None:
    known = {f"{method.upper()} {API}{path}" for method, path, _ in operations()}
    served = {str(route).replace(":str}", "}") for route in routes() if route.path.startswith(API)}
    assert served - known == {f"GET {API}/openapi.json"}
    assert known <= served


def test_references_and_ids_are_valid() -> None:
    whole = document()
    assert whole["openapi"] == "3.1.0"
    schemas = whole["components"]["schemas"]
    for reference in [each["$ref"] for each in objects(whole) if "$ref" in each]:
        assert reference.rpartition("/")[2] in schemas
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert len(ids) == len(set(ids))
    for method, path, operation in operations():
        declared = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
        assert declared == set(re.findall(r"{(\w+)}", path)), path
        assert operation["summary"]
        assert ("requestBody" in operation) <= (method in ("post", "patch", "put"))
        ((scheme,),) = [list(each) for each in operation["security"]]
        assert scheme == "oauth2"


def test_schemas_are_written_for_readers_of_the_document() -> None:
    """Their names and descriptions have neither modules nor the markup of docstrings."""
    schemas = document()["components"]["schemas"]
    assert [name for name in schemas if not re.fullmatch(r"[A-Z]\w+", name)] == []
    assert [name for name, schema in schemas.items() if schema["title"] != name] == []
    described = [each["description"] for each in objects(document()) if isinstance(each.get("description"), str)]
    assert len(described) > 500
    markup = re.compile(r"``|:\w+:`|\b(Attributes|Args|Raises):|\bNone\b|\bidp\.")
    assert [text for text in described if markup.search(text)] == []
    key, rule = schemas["KeyInfo"], schemas["Rule"]
    assert key["description"] == "A key without its private part."
    assert key["properties"]["retires_at"]["description"].startswith("when it leaves the JWKS.")
    assert rule["properties"]["claim"]["description"] == "its name, or a path such as `realm_access.roles`."
    assert rule["properties"]["equals"]["description"] == rule["properties"]["prefix"]["description"]


def test_every_permission_is_a_scope() -> None:
    flows = document()["components"]["securitySchemes"]["oauth2"]["flows"]
    assert set(flows["clientCredentials"]["scopes"]) == set(Permission)
    used = {scope for _, _, operation in operations() for scope in operation["security"][0]["oauth2"]}
    assert used == set(Permission)
