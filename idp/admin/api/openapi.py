"""The OpenAPI 3.1 document of the admin API, generated from the table of operations."""

import inspect
import re
from functools import cache
from typing import Any

import msgspec
from litestar import Request, Response, get

from idp import __version__
from idp.admin.access import api_resource
from idp.admin.api.models import applications as models
from idp.admin.api.operation import OPERATIONS, PREFIX, Operation
from idp.admin.api.problems import Problem
from idp.admin.roles import Permission
from idp.http.access import Access
from idp.infra.db.listing import DEFAULT_LIMIT, MAX_LIMIT
from idp.oauth.clients.members import describe
from idp.settings import settings

TEMPLATE = "#/components/schemas/{name}"
ERRORS = {
    "400": "The query or the body is malformed.",
    "401": "The access token is missing or invalid, or its sign-in was not strong enough.",
    "403": "The scope of the token, or the role of the caller, does not allow this.",
    "404": "There is no such record.",
    "409": "The record is not in the required state.",
    "412": "The record has changed since it was read.",
    "415": "The body is not JSON.",
    "422": "A value is not allowed.",
    "428": "If-Match is missing.",
    "429": "There were too many requests.",
    "503": "The server is overloaded, or its database is not available.",
}
#: The member of an operation that also admits administrators of the organization in its path.
DELEGATED = "x-organization-administrators"
#: The schemas whose properties are members of client metadata.
CLIENT_METADATA = (models.Client, models.NewClient, models.ClientChange)
#: Names of schemas whose classes have the same name as another one.
NAMES = {
    "idp.admin.api.models.attributes.Attribute": "Attribute",
    "idp.admin.api.models.directory.Users": "Users",
    "idp.admin.api.models.organizations.Organization": "Organization",
    "idp.admin.bulk.models.State": "JobState",
    "idp.keys.lifecycle.State": "KeyState",
    "idp.oauth.claims.sources.Attribute": "AttributeSource",
    "idp.oauth.claims.sources.Organization": "OrganizationSource",
    "idp.provisioning.models.State": "ProvisionedUserState",
    "idp.provisioning.models.Users": "ProvisioningUsers",
}
_TYPES: dict[str, dict[str, Any]] = {"uuid": {"type": "string", "format": "uuid"}, "boolean": {"type": "boolean"}}
_TYPES["timestamptz"] = {"type": "string", "format": "date-time"}
#: One or several attributes in a docstring, with what it says of them.
_ATTRIBUTE = re.compile(r"^    (\w+(?:, \w+)*): (.*?)(?=^    \S|\Z)", re.MULTILINE | re.DOTALL)
_REFERENCES = {TEMPLATE.format(name=found): TEMPLATE.format(name=name) for found, name in NAMES.items()}


def _schemas() -> tuple[dict[Any, dict[str, Any]], dict[str, Any]]:
    kinds = {kind for each in OPERATIONS for kind in (each.body, each.content) if kind is not None} | {Problem}
    ordered = sorted(kinds, key=str)
    found, components = msgspec.json.schema_components(ordered, ref_template=TEMPLATE)
    for kind in CLIENT_METADATA:
        describe(components[kind.__name__]["properties"])
    found, components = _renamed(found), {NAMES.get(name, name): _renamed(each) for name, each in components.items()}
    for name, schema in components.items():
        schema["title"] = name
        _describe_properties(schema)
    return dict(zip(ordered, found, strict=True)), components


def _describe_properties(schema: dict[str, Any]) -> None:
    """Replace the docstring of a class by its sentences, in Markdown, and those about its attributes by descriptions of
    the properties.
    """
    text, _, attributes = inspect.cleandoc(schema.get("description", "")).partition("\n\nAttributes:\n")
    if text:
        schema["description"] = _markdown(text)
    for names, words in _ATTRIBUTE.findall(attributes):
        for name in names.split(", "):
            schema["properties"].get(name, {}).setdefault("description", _markdown(words))


def _markdown(text: str) -> str:
    plain = re.sub(r" \(:\w+:`[^`]*`\)|:\w+:(?=`)", "", " ".join(text.split()))
    return re.sub(r"\bNone\b", "null", plain.replace("``", "`"))


def _renamed(part: Any) -> Any:
    """Return a part of the document with the references of :data:`NAMES`."""
    if isinstance(part, dict):
        return {name: _renamed(each) for name, each in part.items()}
    if isinstance(part, tuple | list):
        return [_renamed(each) for each in part]
    return _REFERENCES.get(part, part) if isinstance(part, str) else part


@cache
def document() -> dict[str, Any]:
    """Return the document. Each operation names the scope it needs, in addition to the role."""
    schemas, components = _schemas()
    paths: dict[str, dict[str, Any]] = {}
    for each in OPERATIONS:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, schemas)
    issuer = settings().issuer
    scopes = {str(permission): _describe(permission) for permission in Permission}
    flow = {"tokenUrl": f"{issuer}/token", "scopes": scopes}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Admin API",
            "version": __version__,
            "description": f"Access tokens are those of this server, for the resource `{api_resource().identifier}`.",
        },
        "servers": [{"url": f"{issuer}{PREFIX}"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "oauth2": {
                    "type": "oauth2",
                    "flows": {
                        "authorizationCode": flow | {"authorizationUrl": f"{issuer}/authorize"},
                        "clientCredentials": flow,
                    },
                }
            },
        },
    }


def _describe(permission: Permission) -> str:
    _, area, act = permission.split(":")
    return f"{'Look at' if act == 'read' else 'Change'} {area.replace('_', ' ')}"


def _operation(each: Operation, schemas: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    status = "204" if each.content is None else str(int(each.status))
    success: dict[str, Any] = {"description": "Done."}
    if each.content is not None:
        schema = schemas[each.content]
        success["content"] = {"application/json": {"schema": _page(schema) if each.listing else schema}}
    if each.method in ("GET", "PATCH") and not each.listing:
        success["headers"] = {"ETag": {"schema": {"type": "string"}}}
    problem = {"application/problem+json": {"schema": schemas[Problem]}}
    found: dict[str, Any] = {
        "operationId": operation_id(each),
        "summary": each.summary,
        "tags": [each.tag],
        "security": [{"oauth2": [str(each.permission)] if each.permission else []}],
        "parameters": [*_path(each.path), *_headers(each), *_query(each)],
        "responses": {status: success}
        | {code: {"description": text, "content": problem} for code, text in ERRORS.items()},
    }
    if each.delegated:
        found["description"] = "Administrators of the organization are admitted too, with a token for it."
        found[DELEGATED] = True
    if each.body is not None:
        content = {"application/json": {"schema": schemas[each.body]}}
        found["requestBody"] = {"required": True, "content": content}
    return found


def operation_id(each: Operation) -> str:
    """Return the name of an operation in the document."""
    return each.handler.__name__ if not each.listing else "_".join(["list", *_fixed_parts(each.path)])


def _page(item: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["items", "next_cursor"],
        "properties": {
            "items": {"type": "array", "items": item},
            "next_cursor": {"type": ["string", "null"], "description": "Continues the list; null at its end."},
        },
    }


def _path(path: str) -> list[dict[str, Any]]:
    names = re.findall(r"{(\w+)}", path)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _fixed_parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part and not part.startswith("{")]


def _headers(each: Operation) -> list[dict[str, Any]]:
    found = []
    if each.current is not None:
        text = "The ETag of the record as it was read, or *."
        found.append(_header("If-Match", text, required=True))
    if each.method == "POST":
        found.append(
            _header("Idempotency-Key", "A request that is repeated with the same key is executed once.", required=False)
        )
    return found


def _header(name: str, description: str, *, required: bool) -> dict[str, Any]:
    return {
        "name": name, "in": "header", "required": required, "description": description, "schema": {"type": "string"}
    }  # fmt: skip


def _query(operation: Operation) -> list[dict[str, Any]]:
    listing = operation.listing
    if listing is None:
        return [
            {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
            for name, text in operation.query.items()
        ]
    orders = [sign + name for name in listing.sorts for sign in ("", "-")]
    limit = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
    found = [
        {"name": "limit", "in": "query", "schema": limit},
        {
            "name": "cursor",
            "in": "query",
            "schema": {"type": "string"},
            "description": "next_cursor of the previous page.",
        },
        {"name": "sort", "in": "query", "schema": {"enum": orders, "default": listing.default_sort}},
    ]
    for name, each in listing.filters.items():
        if name == operation.within:
            continue
        schema: dict[str, Any] = (
            {"enum": list(each.choices)} if each.choices else _TYPES.get(each.type, {"type": "string"})
        )
        found.append({"name": name, "in": "query", "description": each.help, "schema": schema})
    return found


@get(f"{PREFIX}/openapi.json", opt={"access": Access.PUBLIC})
async def openapi(_: Request[Any, Any, Any]) -> Response[bytes]:
    """Serve the document. It contains nothing that the public documentation does not."""
    return Response(msgspec.json.encode(document()), media_type="application/json")
