"""The routes of the operations: each authenticates the access token of its request and runs the operation."""

from functools import partial
from typing import Any

import msgspec
from litestar import HttpMethod, Request, Response, route
from litestar.handlers import HTTPRouteHandler

from idp.admin.access import Caller, api_resource, hold_client, hold_roles, person, speaks_for_roles
from idp.admin.api import problems
from idp.admin.api.operation import PREFIX, Operation
from idp.admin.api.running import Message, run
from idp.admin.roles import PERMISSIONS, Permission, Role
from idp.directory import delegation
from idp.errors import (
    InsufficientScopeError,
    InsufficientUserAuthenticationError,
    InvalidTokenError,
    PermissionDeniedError,
    Refused,
)
from idp.http import forms
from idp.http.access import Access, LargeBody
from idp.http.body import MAX_BODY_BYTES, body_of
from idp.http.headers import request_header
from idp.infra import request_context
from idp.infra.db.engine import authority
from idp.keys import jose
from idp.oauth import access_tokens, protected
from idp.oauth.access_tokens import LiveAccessToken
from idp.oauth.clients import path_ids
from idp.oauth.clients.registry import registry
from idp.settings import settings
from idp.signin.transitions import ACR_VALUES

AnyRequest = Request[Any, Any, Any]
#: The name in audit events.
ENDPOINT = "admin_api"


async def authorize(request: AnyRequest, permission: Permission | None, organization_id: str = "") -> Caller:
    """Authenticate the caller and check that both token and roles allow the operation.

    Args:
        organization_id: as in the path; administrators of this organization are admitted too. Empty: they are not.

    Raises:
        BearerError: the token is missing, not valid, not for the admin API, or lacks the scope.
        InvalidDPoPProofError: the token is bound to a key, and the proof of it is invalid.
        PermissionDeniedError: no role of the caller allows it.
    """
    live = await protected.authenticate(request, protected.in_header(request), endpoint=ENDPOINT)
    protected.require_audience(live, api_resource().identifier, ENDPOINT)
    withheld = False
    if live.named is not None:
        if ACR_VALUES.index(live.claims["acr"]) < ACR_VALUES.index(settings().admin_acr):
            raise InsufficientUserAuthenticationError(settings().admin_acr)
        caller = await person(live.named.user_id)
        withheld = bool(caller.roles) and not await speaks_for_roles(live.named, live.claims.get("amr", ()))
        if withheld:
            caller = msgspec.structs.replace(caller, roles=frozenset(), allowed=frozenset())
    else:
        caller = _client(live.claims["client_id"])
    scope = frozenset(live.claims["scope"].split())
    caller = msgspec.structs.replace(caller, allowed=frozenset(p for p in caller.allowed if p in scope))
    request_context.actor.set(caller.actor)
    authority.set(partial(_hold, live, caller))
    if permission is None:
        return caller
    if permission not in scope:
        raise InsufficientScopeError(permission)
    if permission not in caller.allowed and await _manages(live, organization_id):
        caller = msgspec.structs.replace(
            caller,
            roles=frozenset(),
            allowed=frozenset({permission}),
            organization_id=live.organization_id,
            amr=tuple(live.claims.get("amr", ())),
        )
        authority.set(partial(_hold, live, caller))
    if withheld and permission not in caller.allowed:
        raise PermissionDeniedError("Your sign-in at an upstream does not give the permissions of your roles.")
    caller.require(permission)
    return caller


async def _manages(live: LiveAccessToken, organization_id: str) -> bool:
    """Return whether a token is for this organization, and its user manages it."""
    if live.user_id is None or live.organization_id is None or str(live.organization_id) != organization_id:
        return False
    return await delegation.manages(live.user_id, live.organization_id)


async def _hold(live: LiveAccessToken, caller: Caller) -> None:
    """Check that the token is still valid and lock the caller's roles until the end of the transaction.

    Raises:
        InvalidTokenError: the token has been revoked.
        PermissionDeniedError: a role has been revoked, or the caller no longer manages the organization.
    """
    if not await access_tokens.lock(live):
        raise InvalidTokenError
    if caller.user_id is not None and caller.organization_id is not None:
        await delegation.hold(caller.user_id, caller.organization_id)
    elif caller.user_id is not None:
        await hold_roles(caller)
    elif not await hold_client(caller):
        raise PermissionDeniedError("Your role has been revoked.")


async def _may(permission: Permission | None, request: AnyRequest) -> bool:
    """Return whether a request has an access token for an operation. It is checked again after the body was read."""
    presented = protected.in_header(request)
    claims = access_tokens.read(presented.token) if presented is not None else None
    if claims is None or isinstance(claims, Refused) or api_resource().identifier not in jose.audience(claims):
        return False
    return permission is None or permission in claims["scope"].split()


def _client(client_id: str) -> Caller:
    client = registry.client(client_id)
    role = client.admin_role if client is not None else None
    roles = frozenset({Role(role)} if role in set(Role) else ())
    return Caller(None, client_id, roles, PERMISSIONS[Role(role)] if roles and role else frozenset())


def _headers(request: AnyRequest) -> dict[str, str]:
    found = {
        "content-type": request_header(request.scope, b"content-type"),
        "if-match": request_header(request.scope, b"if-match"),
        "idempotency-key": request_header(request.scope, b"idempotency-key"),
    }
    return {name: value for name, value in found.items() if value is not None}


async def _answer(operation: Operation, request: AnyRequest) -> problems.Answer:
    named = str(request.path_params.get("organization_id", "")) if operation.delegated else ""
    caller = await authorize(request, operation.permission, named)
    message = Message(
        path=str(request.scope["path"]),
        params=path_ids.decoded(request.path_params),
        query=forms.query(request),
        headers=_headers(request),
        read=body_of(request).read,
    )
    return await run(operation, caller, message)


def route_of(operation: Operation) -> HTTPRouteHandler:
    """Return the route of an operation."""

    async def endpoint(request: AnyRequest, **_: str) -> Response[bytes]:
        return problems.response(await _answer(operation, request))

    path = PREFIX + operation.path.replace("}", ":str}")
    name = operation.handler.__name__
    endpoint.__name__ = f"{operation.method.lower()}_{operation.path}_{name}"
    opt: dict[str, Any] = {"access": Access.BEARER, "permission": operation.permission}
    if operation.max_body > MAX_BODY_BYTES:
        opt["large_body"] = LargeBody(lambda: operation.max_body, partial(_may, operation.permission))
    return route(path, http_method=[HttpMethod(operation.method)], opt=opt, status_code=200)(endpoint)
