"""Operations on the initial access tokens, with which clients register themselves (RFC 7591)."""

from http import HTTPStatus

import asyncpg
import msgspec

from idp.admin.api.models import initial_access_tokens as models
from idp.admin.api.operation import Call, Result, listed, one, operation
from idp.admin.roles import Permission
from idp.oauth.clients.dynamic import initial_tokens
from idp.oauth.clients.dynamic.ceiling import Ceiling
from idp.oauth.clients.dynamic.repository import INITIAL_ACCESS_TOKENS, read_token

_PATH = "/initial_access_tokens"


def _read(row: asyncpg.Record) -> models.InitialAccessToken:
    token = read_token(row)
    return msgspec.convert(
        msgspec.structs.asdict(token) | msgspec.structs.asdict(token.ceiling), models.InitialAccessToken
    )


listed(
    _PATH, Permission.CLIENTS_READ, "List initial access tokens",
    listing=INITIAL_ACCESS_TOKENS, read=_read, item=models.InitialAccessToken,
)  # fmt: skip


@operation(
    "GET", f"{_PATH}/{{token_id}}", Permission.CLIENTS_READ, "Show an initial access token",
    content=models.InitialAccessToken,
)  # fmt: skip
async def show_token(call: Call) -> models.InitialAccessToken:
    found: models.InitialAccessToken = await one(INITIAL_ACCESS_TOKENS, _read, id=call.params["token_id"])
    return found


@operation(
    "POST", _PATH, Permission.CLIENTS_WRITE, "Create an initial access token; the response contains it, once",
    body=models.NewInitialAccessToken, content=models.NewToken, status=HTTPStatus.CREATED,
)  # fmt: skip
async def create_token(call: Call) -> Result:
    body: models.NewInitialAccessToken = call.body
    ceiling = Ceiling(
        scopes=body.scopes,
        grant_types=body.grant_types,
        redirect_hosts=body.redirect_hosts,
        require_pkce=body.require_pkce,
    )
    id_, token = await initial_tokens.create(body.name, ceiling, uses=body.uses, lifetime=body.lifetime)
    return Result(models.NewToken(id=id_, initial_access_token=token), HTTPStatus.CREATED, f"{_PATH}/{id_}")


@operation(
    "DELETE", f"{_PATH}/{{token_id}}", Permission.CLIENTS_WRITE,
    "Delete an initial access token; its clients stay",
)  # fmt: skip
async def delete_token(call: Call) -> None:
    token = await show_token(call)
    await initial_tokens.delete(token.id)
