"""Reading parameters from a query string or a body."""

from collections.abc import Iterable
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl

import multipart
from litestar import Request

from idp.errors import InvalidRequestError
from idp.http.body import body_of
from idp.http.headers import request_header
from idp.infra import foreign_json
from idp.infra.media_types import JSON, media_type

#: Maximum number of parameters. Forms with the attributes of users have the most of them.
MAX_FIELDS = 500
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
#: The name of the field that holds a file.
FILE = "file"

#: The parameters that may be repeated (RFC 8707 section 2, RFC 8693 section 2.1). Their values are joined by spaces.
REPEATABLE = ("resource", "audience")


def parse(data: bytes) -> dict[str, str]:
    """Read parameters (RFC 6749 section 3.1). An empty parameter counts as absent; none may be repeated.

    Raises:
        InvalidRequestError: a parameter is repeated, is not UTF-8 or contains a NUL.
    """
    try:
        pairs = parse_qsl(data.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise InvalidRequestError("The parameters are not form-encoded UTF-8, or too many.") from error
    return _fields(pairs)


def _fields(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return decoded parameters by name, without the empty ones.

    Raises:
        InvalidRequestError: a parameter is repeated or contains a NUL.
    """
    values: dict[str, str] = {}
    seen: set[str] = set()
    for name, value in pairs:
        if name in seen and name not in REPEATABLE:
            raise InvalidRequestError("A parameter is repeated.")
        seen.add(name)
        if "\0" in name or "\0" in value:
            raise InvalidRequestError("A parameter contains a NUL character.")
        if value:
            values[name] = f"{values[name]} {value}" if name in values else value
    return values


def query(request: Request[Any, Any, Any]) -> dict[str, str]:
    """Return the parameters of the query string."""
    return parse(request.scope["query_string"])


def is_form(request: Request[Any, Any, Any]) -> bool:
    """Return whether the body is a form, by its media type."""
    return media_type(request_header(request.scope, b"content-type")) == FORM


async def form(request: Request[Any, Any, Any]) -> dict[str, str]:
    """Return the parameters of the body.

    Raises:
        InvalidRequestError: the body is of another type, or :func:`parse` refuses it.
    """
    if not is_form(request):
        raise InvalidRequestError("The body must be application/x-www-form-urlencoded.")
    return parse(await body_of(request).read())


async def form_with_file(request: Request[Any, Any, Any]) -> tuple[dict[str, str], bytes]:
    """Return the fields of a multipart/form-data body (RFC 7578), and the content of its file named ``file``.

    Fields are UTF-8, whatever charset they name. A body of another type is read by :func:`form`, without a file.

    Raises:
        InvalidRequestError: the body is malformed, or has values that :func:`parse` would refuse.
    """
    kind, options = multipart.parse_options_header(request_header(request.scope, b"content-type") or "")
    if kind != MULTIPART or "boundary" not in options:
        return await form(request), b""
    body, pairs, file = BytesIO(await body_of(request).read()), list[tuple[str, str]](), b""
    try:
        # The body is in memory already, and files may have secrets: no part of it is written to a temporary file.
        size = len(body.getbuffer())
        parser = multipart.MultipartParser(
            body, options["boundary"], part_limit=MAX_FIELDS, spool_limit=size, memory_limit=2 * size + 65536
        )
        for part in parser:
            if part.filename is None:
                pairs.append((part.name, part.raw.decode("utf-8")))
            elif part.name == FILE:
                file = part.raw
    except (multipart.MultipartError, UnicodeError) as error:
        raise InvalidRequestError("The form is malformed, or has too many fields.") from error
    return _fields(pairs), file


async def form_or_json(request: Request[Any, Any, Any]) -> dict[str, str]:
    """Return the parameters of the body, which may also be a JSON object of strings.

    Raises:
        InvalidRequestError: the body is of another type, or has values that :func:`parse` would refuse.
    """
    if media_type(request_header(request.scope, b"content-type")) != JSON:
        return await form(request)
    try:
        values = foreign_json.decode(await body_of(request).read(), dict[str, str])
        text = "".join([*values, *values.values()]).encode()
    except ValueError as error:
        raise InvalidRequestError("The body must be a JSON object whose members are strings.") from error
    if b"\0" in text or len(values) > MAX_FIELDS:
        raise InvalidRequestError("A parameter contains a NUL character, or there are too many.")
    return {name: value for name, value in values.items() if value}
