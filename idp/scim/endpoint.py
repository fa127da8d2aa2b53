"""The routes of SCIM (RFC 7644 section 3.2)."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl
from uuid import UUID

import msgspec
import structlog
from litestar import HttpMethod, Request, delete, get, patch, post, put, route
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from idp.errors import InvalidRequestError
from idp.http import forms
from idp.http.access import Access, LargeBody
from idp.http.body import body_of
from idp.http.headers import request_header
from idp.http.responses import BytesResponse
from idp.infra import foreign_json
from idp.infra.logs import exception_fields
from idp.infra.media_types import JSON, media_type
from idp.scim import answers, bulk, groups, organization_groups, organization_users, paging, schemas, users
from idp.scim.access import PATH, Caller, authenticate, count, has_token, is_on
from idp.scim.attributes import GROUP, TYPES, USER, ResourceType
from idp.scim.bulk import Operation, Outcome
from idp.scim.errors import (
    InvalidSyntaxError,
    InvalidValueError,
    NotImplementedHereError,
    ScimError,
    UnknownResourceError,
    UnsupportedMediaTypeError,
)
from idp.scim.patch import Document
from idp.scim.representation import Wanted, project

log = structlog.get_logger()

AnyRequest = Request[Any, Any, Any]

_OPT: Final = {"access": Access.BEARER, "language": "en"}
#: Of requests with many members or operations.
_LARGE: Final = _OPT | {"large_body": LargeBody(lambda: bulk.MAX_BODY, has_token)}
_PUBLIC: Final = _OPT | {"access": Access.PUBLIC}


def _require_on() -> None:
    if not is_on():
        raise NotFoundException


async def _caller(request: AnyRequest, *, write: bool = False) -> Caller:
    _require_on()
    caller = await authenticate(request)
    if write:
        caller.require_write()
    return caller


def _users(caller: Caller) -> Any:
    """Return the services of users: those of the server, or the members of an organization."""
    return users if caller.organization_id is None else organization_users


def _groups(caller: Caller) -> Any:
    """Return the services of groups: those of the server, or the roles of an organization."""
    return groups if caller.organization_id is None else organization_groups


async def _body(request: AnyRequest) -> Mapping[str, Any]:
    """Return the JSON object in the body.

    Raises:
        UnsupportedMediaTypeError: it is not announced as JSON.
        InvalidSyntaxError: it is none.
    """
    if media_type(request_header(request.scope, b"content-type")) not in (answers.MEDIA_TYPE, JSON):
        raise UnsupportedMediaTypeError
    try:
        content = foreign_json.decode(await body_of(request).read())
    except ValueError as error:
        raise InvalidSyntaxError(f"The body cannot be read: {error}.") from error
    if not isinstance(content, dict):
        raise InvalidSyntaxError("The body must be a JSON object.")
    return content


def _query(request: AnyRequest) -> dict[str, str]:
    """Return the parameters of the query. An empty cursor asks for the first page (RFC 9865 section 2).

    Raises:
        InvalidValueError: they are malformed, or one is repeated.
    """
    try:
        found = forms.query(request)
        pairs = parse_qsl(request.scope["query_string"].decode("ascii"), keep_blank_values=True)
    except (InvalidRequestError, ValueError) as error:
        raise InvalidValueError("The parameters are malformed, or one is repeated.") from error
    return found | {name: value for name, value in pairs if name.lower() == "cursor"}


def _expected(request: AnyRequest) -> Sequence[str]:
    """Return the versions in ``If-Match``. Strong and weak ones are the same here."""
    given = request_header(request.scope, b"if-match") or ""
    return [_weak(each.strip()) for each in given.split(",") if each.strip()]


def _weak(tag: str) -> str:
    return f"W/{tag}" if tag.startswith('"') else tag


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise UnknownResourceError from None


def _parts(request: AnyRequest, resource: ResourceType) -> Wanted:
    return paging.read_parts([resource], _query(request))


def _resource(request: AnyRequest, content: Document, parts: Wanted, status: int = HTTPStatus.OK) -> BytesResponse:
    """Return a resource; if the client has this version already, only that (RFC 7644 section 3.14)."""
    version = content["meta"].get("version")
    known = [_weak(each.strip()) for each in (request_header(request.scope, b"if-none-match") or "").split(",")]
    if request.method == "GET" and version is not None and version in known:
        return BytesResponse(b"", ((b"etag", version.encode()),), status=HTTPStatus.NOT_MODIFIED)
    answer = answers.resource(content, status)
    if parts.only or parts.without:
        answer = BytesResponse(msgspec.json.encode(project(content, parts)), _without_length(answer), status=status)
    return answer


def _without_length(answer: BytesResponse) -> list[tuple[bytes, bytes]]:
    return [pair for pair in answer.headers if pair[0] != b"content-length"]


@get(f"{PATH}/Users", opt=_OPT)
async def list_users(request: AnyRequest) -> BytesResponse:
    """List users (section 3.4.2)."""
    return await _list(request, [USER])


@get(f"{PATH}/Groups", opt=_OPT)
async def list_groups(request: AnyRequest) -> BytesResponse:
    """List groups (section 3.4.2)."""
    return await _list(request, [GROUP])


async def _list(request: AnyRequest, types: Sequence[ResourceType]) -> BytesResponse:
    caller = await _caller(request)
    query = paging.read_query(types, _query(request))
    return answers.document(await paging.page(caller, types, query))


@post(f"{PATH}/.search", opt=_OPT, status_code=HTTPStatus.OK)
async def search(request: AnyRequest) -> BytesResponse:
    """List users and groups by a message (section 3.4.3)."""
    return await _search(request, TYPES)


@post(f"{PATH}/Users/.search", opt=_OPT, status_code=HTTPStatus.OK)
async def search_users(request: AnyRequest) -> BytesResponse:
    """List users by a message (section 3.4.3)."""
    return await _search(request, [USER])


@post(f"{PATH}/Groups/.search", opt=_OPT, status_code=HTTPStatus.OK)
async def search_groups(request: AnyRequest) -> BytesResponse:
    """List groups by a message (section 3.4.3)."""
    return await _search(request, [GROUP])


async def _search(request: AnyRequest, types: Sequence[ResourceType]) -> BytesResponse:
    caller = await _caller(request)
    query = paging.read_query(types, await _body(request))
    return answers.document(await paging.page(caller, types, query))


@post(f"{PATH}/Users", opt=_OPT, status_code=HTTPStatus.CREATED)
async def create_user(request: AnyRequest) -> BytesResponse:
    """Create a user (section 3.3)."""
    caller = await _caller(request, write=True)
    parts = _parts(request, USER)
    return _resource(request, await _users(caller).create(caller, await _body(request)), parts, HTTPStatus.CREATED)


@get(f"{PATH}/Users/{{user_id:str}}", opt=_OPT)
async def show_user(request: AnyRequest, user_id: FromPath[str]) -> BytesResponse:
    """Show a user (section 3.4.1)."""
    caller = await _caller(request)
    parts = _parts(request, USER)
    return _resource(request, await _users(caller).show(caller, _id(user_id)), parts)


@put(f"{PATH}/Users/{{user_id:str}}", opt=_OPT)
async def replace_user(request: AnyRequest, user_id: FromPath[str]) -> BytesResponse:
    """Replace a user (section 3.5.1)."""
    caller = await _caller(request, write=True)
    parts, body = _parts(request, USER), await _body(request)
    return _resource(request, await _users(caller).replace(caller, _id(user_id), body, _expected(request)), parts)


@patch(f"{PATH}/Users/{{user_id:str}}", opt=_OPT)
async def patch_user(request: AnyRequest, user_id: FromPath[str]) -> BytesResponse:
    """Change a user (section 3.5.2)."""
    caller = await _caller(request, write=True)
    parts, body = _parts(request, USER), await _body(request)
    return _resource(request, await _users(caller).patch(caller, _id(user_id), body, _expected(request)), parts)


@delete(f"{PATH}/Users/{{user_id:str}}", opt=_OPT, status_code=HTTPStatus.NO_CONTENT)
async def delete_user(request: AnyRequest, user_id: FromPath[str]) -> BytesResponse:
    """Delete a user (section 3.6)."""
    caller = await _caller(request, write=True)
    await _users(caller).delete(caller, _id(user_id), _expected(request))
    return answers.nothing()


@post(f"{PATH}/Groups", opt=_LARGE, status_code=HTTPStatus.CREATED)
async def create_group(request: AnyRequest) -> BytesResponse:
    """Create a group (section 3.3)."""
    caller = await _caller(request, write=True)
    parts = _parts(request, GROUP)
    return _resource(request, await _groups(caller).create(caller, await _body(request)), parts, HTTPStatus.CREATED)


@get(f"{PATH}/Groups/{{group_id:str}}", opt=_OPT)
async def show_group(request: AnyRequest, group_id: FromPath[str]) -> BytesResponse:
    """Show a group (section 3.4.1)."""
    caller = await _caller(request)
    parts = _parts(request, GROUP)
    return _resource(
        request, await _groups(caller).show(caller, _id(group_id), with_members=parts.has("members")), parts
    )


@put(f"{PATH}/Groups/{{group_id:str}}", opt=_LARGE)
async def replace_group(request: AnyRequest, group_id: FromPath[str]) -> BytesResponse:
    """Replace a group (section 3.5.1)."""
    caller = await _caller(request, write=True)
    parts, body = _parts(request, GROUP), await _body(request)
    return _resource(request, await _groups(caller).replace(caller, _id(group_id), body, _expected(request)), parts)


@patch(f"{PATH}/Groups/{{group_id:str}}", opt=_LARGE, status_code=HTTPStatus.NO_CONTENT)
async def patch_group(request: AnyRequest, group_id: FromPath[str]) -> BytesResponse:
    """Change a group (section 3.5.2). The group is in the response only if parts of it are wanted, because it may have
    many members.
    """
    caller = await _caller(request, write=True)
    parts, body = _parts(request, GROUP), await _body(request)
    await _groups(caller).patch(caller, _id(group_id), body, _expected(request))
    if not parts.only:
        return answers.nothing()
    content = await _groups(caller).show(caller, _id(group_id), with_members=parts.has("members"))
    return _resource(request, content, parts)


@delete(f"{PATH}/Groups/{{group_id:str}}", opt=_OPT, status_code=HTTPStatus.NO_CONTENT)
async def delete_group(request: AnyRequest, group_id: FromPath[str]) -> BytesResponse:
    """Delete a group (section 3.6)."""
    caller = await _caller(request, write=True)
    await _groups(caller).delete(caller, _id(group_id), _expected(request))
    return answers.nothing()


@post(f"{PATH}/Bulk", opt=_LARGE, status_code=HTTPStatus.OK)
async def bulk_operations(request: AnyRequest) -> BytesResponse:
    """Perform several operations (section 3.7)."""
    caller = await _caller(request, write=True)
    operations, limit = bulk.read(await _body(request))

    async def one(operation: Operation) -> Outcome:
        try:
            await count(caller)
            return await _perform(caller, operation)
        except Exception as error:
            found = answers.error_of(error)
            if found is None:
                # What was done before must be told, so that the client does not repeat it.
                log.error("scim_operation_failed", **exception_fields(error))  # noqa: TRY400 -- the text may quote input
                return Outcome(*answers.failure())
            return Outcome(found[0], found[1])

    return answers.document(await bulk.perform(operations, limit, one))


async def _perform(caller: Caller, operation: Operation) -> Outcome:
    """Perform an operation of a bulk request.

    Raises:
        ScimError: it fails.
    """
    if isinstance(operation.data, ScimError):
        raise operation.data
    _, endpoint, *rest = ["", *bulk.relative(operation.path).strip("/").split("/")]
    resource = next((each for each in TYPES if each.endpoint.strip("/") == endpoint), None)
    if resource is None or len(rest) != (operation.method != "POST"):
        raise InvalidSyntaxError("The path must be /Users, /Groups, or one of them with an id.")
    if operation.method != "DELETE" and not isinstance(operation.data, dict):
        raise InvalidSyntaxError("The data must be an object.")
    service = _users(caller) if resource is USER else _groups(caller)
    if operation.method == "POST":
        return _outcome(await service.create(caller, operation.data), HTTPStatus.CREATED)
    target, expected = _id(rest[0]), [_weak(operation.version)] if operation.version else []
    if operation.method == "DELETE":
        await service.delete(caller, target, expected)
        return Outcome(HTTPStatus.NO_CONTENT)
    if operation.method == "PUT":
        return _outcome(await service.replace(caller, target, operation.data, expected))
    if resource is USER:
        return _outcome(await _users(caller).patch(caller, target, operation.data, expected))
    await _groups(caller).patch(caller, target, operation.data, expected)
    return _outcome(await _groups(caller).show(caller, target, with_members=False))


def _outcome(content: Document, status: int = HTTPStatus.OK) -> Outcome:
    return Outcome(status, content, content["meta"]["location"], content["meta"].get("version"))


@get(f"{PATH}/ServiceProviderConfig", opt=_PUBLIC)
async def configuration(request: AnyRequest) -> BytesResponse:
    """Show what this server supports (section 4)."""
    _require_on()
    return answers.document(schemas.configuration())


@get(f"{PATH}/Schemas", opt=_PUBLIC)
async def list_schemas(request: AnyRequest) -> BytesResponse:
    """Show the schemas (section 4)."""
    return _described(schemas.schemas())


@get(f"{PATH}/Schemas/{{schema_id:str}}", opt=_PUBLIC)
async def show_schema(request: AnyRequest, schema_id: FromPath[str]) -> BytesResponse:
    """Show a schema (section 4)."""
    return _one(schemas.schemas(), schema_id)


@get(f"{PATH}/ResourceTypes", opt=_PUBLIC)
async def list_resource_types(request: AnyRequest) -> BytesResponse:
    """Show the types of resources (section 4)."""
    return _described(schemas.resource_types())


@get(f"{PATH}/ResourceTypes/{{type_id:str}}", opt=_PUBLIC)
async def show_resource_type(request: AnyRequest, type_id: FromPath[str]) -> BytesResponse:
    """Show a type of resources (section 4)."""
    return _one(schemas.resource_types(), type_id)


def _described(documents: list[Document]) -> BytesResponse:
    _require_on()
    return answers.document(
        {
            "schemas": [paging.MESSAGE], "totalResults": len(documents), "startIndex": 1,
            "itemsPerPage": len(documents), "Resources": documents,
        }
    )  # fmt: skip


def _one(documents: list[Document], id: str) -> BytesResponse:
    _require_on()
    found = next((each for each in documents if each["id"].lower() == id.lower()), None)
    if found is None:
        raise UnknownResourceError
    return answers.document(found)


@route(
    f"{PATH}/Me",
    http_method=[HttpMethod.GET, HttpMethod.POST, HttpMethod.PUT, HttpMethod.PATCH, HttpMethod.DELETE],
    opt=_OPT,
)
async def me(request: AnyRequest) -> BytesResponse:
    """The user of the token: there is none (section 3.11)."""
    await _caller(request)
    raise NotImplementedHereError("A SCIM client is not a user.")


@route(
    f"{PATH}/{{path:path}}",
    http_method=[HttpMethod.GET, HttpMethod.POST, HttpMethod.PUT, HttpMethod.PATCH, HttpMethod.DELETE],
    opt=_PUBLIC,
)
async def nowhere(request: AnyRequest, path: FromPath[str]) -> BytesResponse:
    """Answer for all other paths."""
    _require_on()
    raise UnknownResourceError


ROUTES = [
    list_users, list_groups, search, search_users, search_groups, create_user, show_user, replace_user, patch_user,
    delete_user, create_group, show_group, replace_group, patch_group, delete_group, bulk_operations, configuration,
    list_schemas, show_schema, list_resource_types, show_resource_type, me, nowhere,
]  # fmt: skip
