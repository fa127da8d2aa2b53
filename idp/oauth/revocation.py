"""Token revocation (RFC 7009)."""

from datetime import UTC, datetime
from functools import partial
from typing import Any

from litestar import Request, post
from litestar.datastructures import Cookie

from idp.audit.events import record
from idp.errors import InvalidRequestError, Refused
from idp.http import forms
from idp.http.access import Access
from idp.http.cors import Cors
from idp.http.headers import encode, request_header
from idp.http.middleware import ON_SUCCESS
from idp.http.responses import BytesResponse
from idp.infra.db.engine import transaction
from idp.oauth import access_tokens
from idp.oauth.clients.authentication import authenticate
from idp.oauth.clients.models import Client
from idp.oauth.repository.live_tokens import revoke_access_token
from idp.oauth.status.revocation_list import LEEWAY
from idp.oauth.token import refresh_cookie, refresh_jwt
from idp.oauth.token.families import revoke_family
from idp.oauth.token.repository import families

DONE = encode({"Cache-Control": "no-store"})


@post("/revoke", opt={"access": Access.CLIENT, "cors": Cors.CREDENTIALS, "quiet": ON_SUCCESS}, status_code=200)
async def revoke(request: Request[Any, Any, Any]) -> BytesResponse:
    """Revoke a token of the client. Revoking a refresh token revokes its family.

    The response to an unknown or invalid token is success (section 2.2).
    """
    form = await forms.form(request)
    client = await authenticate(request_header(request.scope, b"authorization"), form, "/revoke")
    cookies: list[Cookie] = []
    if client.refresh_token_cookie and "token" not in form:
        form = refresh_cookie.with_refresh_token(request, client, form)
        form["token"] = form.get("refresh_token", "")
        cookies.append(refresh_cookie.delete(client))
    elif "token" not in form:
        raise InvalidRequestError("token is missing.")
    if not await _revoke_refresh_token(client, form["token"]):
        await _revoke_access_token(client, form["token"])
    return BytesResponse(b"", DONE, cookies=cookies)


async def _revoke_refresh_token(client: Client, token: str) -> bool:
    """Returns False if it is not a refresh token of this server. The family is revoked even if the row is lost."""
    presented = refresh_jwt.decode(token)
    if isinstance(presented, Refused):
        return False
    if await revoke_family(partial(families.revoke_by_client, presented, client.client_id), "revoked_by_client"):
        return True
    owner = await families.client_of_family(presented)
    if owner is not None and owner != client.client_id:
        raise _not_yours()
    return True


async def _revoke_access_token(client: Client, token: str) -> None:
    claims = access_tokens.read(token)
    if isinstance(claims, Refused):
        return
    if claims["client_id"] != client.client_id:
        raise _not_yours()
    async with transaction():
        # The revocation list names the token as long as a resource server whose clock is behind accepts it.
        expires_at = datetime.fromtimestamp(claims["exp"] + LEEWAY, UTC)
        if await revoke_access_token(claims["jti"], expires_at):
            await record("access_token_revoked", client_id=client.client_id, detail={"jti": claims["jti"]})


def _not_yours() -> InvalidRequestError:
    return InvalidRequestError("The token was not issued to this client.")


ROUTES = [revoke]
