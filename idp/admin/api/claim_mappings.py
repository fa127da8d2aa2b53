"""Operations on the mappings of claims: what clients get about users in their tokens and responses."""

from http import HTTPStatus
from uuid import UUID

import asyncpg
import msgspec

from idp.admin.access import check_claims
from idp.admin.api.models import claim_mappings as models
from idp.admin.api.operation import Call, Result, listed, one, operation
from idp.admin.roles import Permission
from idp.infra.db.listing import InvalidQueryError
from idp.oauth.claims import registration
from idp.oauth.claims.preview import preview
from idp.oauth.claims.repository import CLAIM_MAPPINGS, read

_READ, _WRITE = Permission.CLIENTS_READ, Permission.CLIENTS_WRITE
_PATH = "/claim_mappings"


def _read(row: asyncpg.Record) -> models.ClaimMapping:
    return msgspec.convert(msgspec.to_builtins(read(row)), models.ClaimMapping)


listed(_PATH, _READ, "List claim mappings", listing=CLAIM_MAPPINGS, read=_read, item=models.ClaimMapping)


@operation("GET", f"{_PATH}/{{mapping_id}}", _READ, "Show a claim mapping", content=models.ClaimMapping)
async def show_mapping(call: Call) -> models.ClaimMapping:
    found: models.ClaimMapping = await one(CLAIM_MAPPINGS, _read, id=call.params["mapping_id"])
    return found


@operation(
    "POST", _PATH, _WRITE, "Put a claim into tokens and responses of a client, or of every client with a scope",
    body=models.NewClaimMapping, content=models.ClaimMapping, status=HTTPStatus.CREATED,
)  # fmt: skip
async def add_mapping(call: Call) -> Result:
    values = msgspec.to_builtins(call.body)
    client_id = values.pop("client_id")
    await check_claims(call.caller, client_id)
    mapping = await registration.add(client_id, call.caller.audience, **values)
    content = await one(CLAIM_MAPPINGS, _read, id=str(mapping.id))
    return Result(content, HTTPStatus.CREATED, f"{_PATH}/{mapping.id}")


@operation("DELETE", f"{_PATH}/{{mapping_id}}", _WRITE, "Remove a claim mapping")
async def remove_mapping(call: Call) -> None:
    mapping = await show_mapping(call)
    await check_claims(call.caller, mapping.client_id)
    await registration.remove(mapping.id)


@operation(
    "GET", "/clients/{client_id}/claims", Permission.USERS_READ, "Show what tokens of a client would say about a user",
    content=models.ClaimPreview,
    query={
        "user_id": "The user. Required.",
        "scope": "The scopes of the request, separated by spaces. Default: as of a request without scope.",
        "resource": "The resource servers of the request, separated by spaces.",
        "claim": "Claims to explain even if nothing has them, separated by spaces.",
        "ask_hook": "true: call the token hook of the client too. Needs the permission to change events.",
    },
)  # fmt: skip
async def preview_claims(call: Call) -> models.ClaimPreview:
    for permission in (_READ, Permission.GROUPS_READ):
        call.caller.require(permission)
    ask_hook = call.query.get("ask_hook", "false")
    if ask_hook not in ("true", "false"):
        raise InvalidQueryError("ask_hook", "ask_hook must be true or false.")
    if ask_hook == "true":
        call.caller.require(Permission.EVENTS_WRITE)
    try:
        user_id = UUID(call.query.get("user_id", ""))
    except ValueError as error:
        raise InvalidQueryError("user_id", "user_id must be the id of a user.") from error
    words = {name: call.query.get(name, "").split() for name in ("scope", "resource", "claim")}
    found = await preview(
        call.params["client_id"],
        user_id,
        scope=words["scope"],
        resource=words["resource"],
        names=words["claim"],
        audience=call.caller.audience,
        ask_hook=ask_hook == "true",
    )
    return msgspec.convert(msgspec.to_builtins(found), models.ClaimPreview)
