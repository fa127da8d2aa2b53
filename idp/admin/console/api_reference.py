"""`/admin/api_reference`: the operations of the admin API, and a form that sends a request to each."""

from collections.abc import Mapping
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

import msgspec
from litestar import Response

from idp.admin.api.openapi import document, operation_id
from idp.admin.api.operation import OPERATIONS, PREFIX, Operation
from idp.admin.console import api_examples
from idp.admin.console.api_request import Answer, Entered, packed, read, send, unpacked, url_path
from idp.admin.console.components import Cell, Field, Table, facts, text
from idp.admin.console.once import keep_once, kept_once
from idp.admin.console.screen import HOME, AdminRequest, not_found, render, screen
from idp.settings import settings

SECTION = "api_reference"
_PATH = f"{HOME}/{SECTION}"
_COLUMNS = ("Operation", "Request", "Scope")
#: Members of bodies that are secrets. A body that can have one is not shown again after a sign-in.
_SECRETS = frozenset({"client_secret", "password", "secret", "token"})


@screen("GET", f"/{SECTION}", None)
async def list_operations(request: AdminRequest) -> Response[str]:
    asked = request.query.get("q", "")
    found = [each for each in OPERATIONS if _matches(each, asked)]
    tables = [
        Table(tag.replace("_", " ").capitalize(), _COLUMNS, [_row(request, each) for each in of])
        for tag, of in groupby(sorted(found, key=lambda each: each.tag), lambda each: each.tag)
    ]
    return render(
        request, "list", section=SECTION, heading="API", path=_PATH, tables=tables, columns=(), rows=[],
        intro=f"What programs can do at {settings().issuer}{PREFIX}. Each operation has a form that sends a request.",
        filters=[Field("q", "Part of the name or path", asked, "search")],
        links=[("OpenAPI document", f"{PREFIX}/openapi.json")],
    )  # fmt: skip


def _matches(each: Operation, asked: str) -> bool:
    words = f"{each.method} {each.path} {each.summary} {each.permission}".lower()
    return all(word in words for word in asked.lower().split())


def _row(request: AdminRequest, each: Operation) -> list[Cell]:
    allowed = each.permission is None or each.permission in request.caller.allowed
    scope = str(each.permission or "any admin")
    return [
        Cell(each.summary, f"{_PATH}/{operation_id(each)}"),
        Cell(f"{each.method} {each.path}", code=True),
        Cell(scope, code=True) if allowed else Cell(f"{scope}: not in your role", mood="plain"),
    ]


def _operation(request: AdminRequest) -> Operation:
    name = request.params["operation_id"]
    found = next((each for each in OPERATIONS if operation_id(each) == name), None)
    if found is None:
        raise not_found()
    return found


@screen("GET", f"/{SECTION}/{{operation_id}}", None)
async def show_operation(request: AdminRequest) -> Response[str]:
    operation = _operation(request)
    values, entered = _prefilled(operation, request.query), read(operation, request.query)
    answer = None
    if operation.method == "GET" and "send" in request.query:
        if missing := _missing(operation, entered):
            return _page(request, operation, values, error=missing)
        answer = await send(request, operation, entered)
    elif (kept := kept_once(request)) is not None:
        answer = unpacked(kept)
    return _page(_without_secrets(request, operation), operation, values, answer)


def _prefilled(operation: Operation, query: Mapping[str, str]) -> Mapping[str, str]:
    """Return what a URL may enter. Of a change it is the record alone: a link must not write what an admin sends."""
    if operation.method == "GET":
        return query
    return {name: query[name] for each in operation.names if (name := f"path.{each}") in query}


def takes_secret(operation: Operation) -> bool:
    """Return whether the body can have a secret."""
    body, components = _body(operation), document()["components"]["schemas"]
    return body is not None and any(name in _SECRETS for name, *_ in api_examples.members(body, components))


def _without_secrets(request: AdminRequest, operation: Operation) -> AdminRequest:
    """Return a request whose form of before a sign-in has no body that can have a secret."""
    if "body" not in request.kept or not takes_secret(operation):
        return request
    return msgspec.structs.replace(request, kept={**request.kept, "body": _suggested(operation)})


@screen("POST", f"/{SECTION}/{{operation_id}}", None, fresh=True)
async def send_request(request: AdminRequest) -> Response[Any]:
    """Send a request that changes something.

    The next page shows the response. A refusal keeps what was entered. A response that is too long for a cookie is
    shown at once: it may have a secret that nothing shows again.
    """
    operation = _operation(request)
    entered = read(operation, request.form)
    if operation.method == "GET":
        raise not_found()
    if missing := _missing(operation, entered):
        return _page(request, operation, request.form, error=missing)
    answer = await send(request, operation, entered)
    kept = packed(answer)
    if answer.status >= 400 or kept is None:
        return _page(request, operation, request.form, answer)
    query = urlencode({f"path.{name}": value for name, value in entered.path.items()})
    return keep_once(request, f"/{SECTION}/{operation_id(operation)}", kept, query)


def _described(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = document()["paths"][operation.path][operation.method.lower()]
    return found


def _body(operation: Operation) -> Any:
    """Return the schema of the body; None without one."""
    content = _described(operation).get("requestBody", {}).get("content", {})
    return content.get("application/json", {}).get("schema")


def _suggested(operation: Operation) -> str:
    body = _body(operation)
    return _json(api_examples.example(body, document()["components"]["schemas"])) if body is not None else ""


def _missing(operation: Operation, entered: Entered) -> str | None:
    sent = {"path": entered.path, "query": entered.query, "header": entered.headers}
    for each in _described(operation)["parameters"]:
        if each.get("required") and each["name"] not in sent[each["in"]]:
            return f"Enter {each['name']}."
    return None


def _page(
    request: AdminRequest, operation: Operation, values: Any, answer: Answer | None = None, error: str | None = None
) -> Response[str]:
    described, components = _described(operation), document()["components"]["schemas"]
    body, suggested = _body(operation), _suggested(operation)
    fields = [_field(each, values) for each in described["parameters"]]
    if body is not None:
        fields.append(Field("body", "Body (JSON)", values.get("body", suggested), "lines"))
    entered = msgspec.structs.replace(read(operation, values), body=values.get("body", suggested))
    allowed = operation.permission is None or operation.permission in request.caller.allowed
    return render(
        request, "operation", section=SECTION, heading=operation.summary, error=error, answer=answer,
        status=400 if error else 200, fields=fields, may_send=allowed, safe=operation.method == "GET",
        sent=request.http.method == "POST",
        action=f"{_PATH}/{operation_id(operation)}", back=_PATH,
        facts=facts(
            {
                "Request": Cell(f"{operation.method} {PREFIX}{operation.path}", code=True),
                "Scope and permission": Cell(str(operation.permission or "any admin"), code=True),
                **({"Also for": described["description"]} if "description" in described else {}),
                **({} if allowed else {"Your role": Cell("does not allow this", mood="bad")}),
            }
        ),
        tables=_tables(described, body, components), snippets=_snippets(operation, entered),
        snippets_heading="Send it from elsewhere",
    )  # fmt: skip


def _field(parameter: dict[str, Any], values: Any) -> Field:
    name, schema = f"{parameter['in']}.{parameter['name']}", parameter["schema"]
    found = Field(
        name, parameter["name"], values.get(name, ""), help=parameter.get("description", ""),
        required=bool(parameter.get("required")),
    )  # fmt: skip
    choices = schema.get("enum") or (("true", "false") if schema.get("type") == "boolean" else ())
    return found._replace(kind="choice", choices=[("", ""), *((each, each) for each in choices)]) if choices else found


def _tables(described: dict[str, Any], body: Any, components: Any) -> list[Table]:
    columns = ("Member", "Type", "Default", "Meaning")
    success = next(code for code in described["responses"] if code.startswith("2"))
    content = described["responses"][success].get("content", {})
    shown = [("Members of the body", body)] if body is not None else []
    shown += [(f"Members of the response ({success})", each["schema"]) for each in content.values()]
    return [
        Table(
            heading, columns,
            [
                [Cell(name, code=True), text(kind), text(default), Cell(about, prose=True)]
                for name, kind, default, about in api_examples.members(schema, components)
            ],
        )
        for heading, schema in shown
    ]  # fmt: skip


def _snippets(operation: Operation, entered: Entered) -> list[tuple[str, str]]:
    url = settings().issuer + url_path(operation, entered)
    content = operation.body is not None
    headers = {**entered.headers, **({"Content-Type": "application/json"} if content else {})}
    sent = operation.method, url, headers, entered.body if content else ""
    return [("curl", api_examples.curl(*sent)), ("Python: httpx", api_examples.python(*sent))]


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
