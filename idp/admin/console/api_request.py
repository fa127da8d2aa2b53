"""Sending a request of the admin API from the console, with the authority of the administrator's own session.

It runs the same operation as the route of the API (:func:`idp.admin.api.running.run`). What differs is who says who
the caller is: the session, whose role, level and age each transaction checks again, instead of an access token.
"""

import zlib
from collections.abc import Mapping
from http import HTTPStatus
from time import perf_counter
from urllib.parse import quote, urlencode

import msgspec

from idp.admin.api import problems
from idp.admin.api.operation import PREFIX, Operation
from idp.admin.api.running import Message, run
from idp.admin.console.once import MAX_CONTENT
from idp.admin.console.screen import AdminRequest
from idp.oauth.clients import path_ids

#: Characters of a body that a page shows.
MAX_SHOWN = 200_000


class Answer(msgspec.Struct, frozen=True):
    """A response as a page shows it.

    Attributes:
        milliseconds: how long the operation took.
        cut: whether the body is incomplete.
    """

    status: int
    headers: dict[str, str]
    body: str
    milliseconds: float
    cut: bool = False

    @property
    def phrase(self) -> str:
        """The words of the status."""
        return HTTPStatus(self.status).phrase


class Entered(msgspec.Struct, frozen=True):
    """The parameters and the body of a request as entered."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: str


def read(operation: Operation, form: Mapping[str, str]) -> Entered:
    """Return what a form has. A field without a value is absent, and so is a parameter that the path does not have."""

    def part(prefix: str) -> dict[str, str]:
        return {name.removeprefix(prefix): value for name, value in form.items() if name.startswith(prefix) and value}

    path = part("path.")
    path = {name: path[name] for name in operation.names if name in path}
    return Entered(path, part("query."), part("header."), form.get("body", ""))


def url_path(operation: Operation, entered: Entered) -> str:
    """Return the path of the request. A parameter without a value is left as it is declared."""
    path = PREFIX + operation.path
    for name, value in entered.path.items():
        path = path.replace(f"{{{name}}}", quote(value, safe="~"))
    return path + (f"?{urlencode(entered.query)}" if entered.query else "")


async def send(request: AdminRequest, operation: Operation, entered: Entered) -> Answer:
    """Run an operation as the administrator. A refusal is an answer too.

    Raises:
        PermissionDeniedError: no role of the administrator allows it.
    """
    if operation.permission is not None:
        request.caller.require(operation.permission)
    began = perf_counter()
    try:
        status, headers, body = await run(operation, request.caller, _message(operation, entered))
    except Exception as error:
        refusal = problems.of(error, request.http)
        if refusal is None:
            raise
        status, headers, body = refusal
    took = round((perf_counter() - began) * 1000, 1)
    text = _indented(body)
    return Answer(int(status), headers, text[:MAX_SHOWN], took, len(text) > MAX_SHOWN)


def _message(operation: Operation, entered: Entered) -> Message:
    async def body() -> bytes:
        return entered.body.encode()

    headers = {name.lower(): value for name, value in entered.headers.items()}
    if operation.body is not None:
        headers["content-type"] = "application/json"
    params = path_ids.decoded(entered.path)
    return Message(url_path(operation, entered).partition("?")[0], params, entered.query, headers, body)


def _indented(body: bytes) -> str:
    return msgspec.json.format(body, indent=2).decode() if body else ""


def packed(answer: Answer) -> bytes | None:
    """Return an answer for :func:`idp.admin.console.once.keep_once`; None if it is too long for that."""
    whole = zlib.compress(msgspec.json.encode(answer), 9)
    return whole if len(whole) <= MAX_CONTENT else None


def unpacked(content: bytes) -> Answer:
    """Return the answer that :func:`packed` made."""
    return msgspec.json.decode(zlib.decompress(content), type=Answer)
