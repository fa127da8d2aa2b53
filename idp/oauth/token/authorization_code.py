"""The authorization_code grant (RFC 6749 section 4.1.3, RFC 7636 section 4.6)."""

import re
from base64 import urlsafe_b64encode
from datetime import timedelta
from hashlib import sha256

from msgspec import UNSET

from idp import clock, ids
from idp.errors import InvalidGrantError, InvalidRequestError, InvalidTargetError, Refused
from idp.infra.db.engine import execute, fetchrow, transaction
from idp.oauth.authorize.request import words
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.diagnosis import refused_code
from idp.oauth.statements import (
    CODE_FOR_OTHER_RESOURCES,
    END_EARLIER_CODES,
    REDEEM_CODE,
    REVOKE_EARLIER_FAMILIES,
    REVOKE_REPLAYED_CODE,
)
from idp.oauth.token.issuer import Grant, NewRefreshToken, TokenResponse, new_refresh_token, respond
from idp.oauth.token_families import revoke_family
from idp.reasons import Reason
from idp.settings import settings

#: RFC 7636 section 4.1: unreserved characters.
VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


def _challenge(verifier: str | None) -> str | None:
    """The S256 challenge that belongs to a verifier (RFC 7636 section 4.2)."""
    if verifier is None:
        return None
    if not VERIFIER.fullmatch(verifier):
        raise InvalidGrantError("code_verifier is not 43 to 128 unreserved characters.", Refused(Reason.PKCE_MISMATCH))
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()


async def redeem(client: Client, form: dict[str, str]) -> TokenResponse:
    """Exchange a code for tokens, once.

    The code is consumed only by the right client with the right redirect URI and verifier, for resources that were
    granted (RFC 8707 section 2.2). A second use revokes what the first one gave (section 4.1.2),
    whatever became of the first answer (docs/decisions/0040-how-long-a-lost-answer-can-be-repeated.md).
    """
    if "code" not in form:
        raise InvalidRequestError("code is missing.")
    if "redirect_uri" not in form and not client.authorization_challenge:
        raise InvalidRequestError("redirect_uri is missing.")
    code_hash, resource = ids.digest(form["code"]), words(form, "resource")
    refresh = new_refresh_token(ids.uuid7()) if "refresh_token" in client.grant_types else None
    grant = await _consume(client, form, code_hash, refresh, resource)
    if grant is None:
        if resource and await fetchrow(CODE_FOR_OTHER_RESOURCES, code_hash, client.client_id, resource):
            raise InvalidTargetError("The resource is not one of those granted.")
        await revoke_family(REVOKE_REPLAYED_CODE, code_hash, client.client_id, reason="authorization_code_reuse")
        raise InvalidGrantError(
            "The code is not valid for this client, redirect_uri and code_verifier, or was used.",
            await refused_code(
                code_hash,
                client.client_id,
                form.get("redirect_uri", ""),
                _challenge(form.get("code_verifier")),
                registry.not_before(client),
            ),
        )
    return await respond(
        client, grant, refresh.token if refresh else UNSET, grant_type="authorization_code", resource=resource
    )


async def _consume(
    client: Client,
    form: dict[str, str],
    code_hash: bytes,
    refresh: NewRefreshToken | None,
    resource: tuple[str, ...],
) -> Grant | None:
    asked = {
        "code_hash": code_hash,
        "client_id": client.client_id,
        # A code from the challenge endpoint was sent nowhere.
        "redirect_uri": form.get("redirect_uri", ""),
        "code_challenge": _challenge(form.get("code_verifier")),
        "resource": " ".join(resource),
        "not_before": registry.not_before(client),
        "family_id": refresh.family_id if refresh else ids.uuid7(),
        "jti": refresh.jti if refresh else None,
        "token_hash": refresh.hash if refresh else None,
        "issued_at": refresh.issued_at if refresh else None,
        "expires_at": refresh.expires_at if refresh else None,
        "family_until": clock.now() + timedelta(seconds=settings().refresh_token_family_lifetime),
    }
    if not (settings().single_session or client.single_session):
        row = await REDEEM_CODE.fetchrow(**asked)
        return Grant(**row) if row else None
    async with transaction():
        row = await REDEEM_CODE.fetchrow(**asked)
        if row is None:
            return None
        only_client = None if settings().single_session else client.client_id
        for statement in (END_EARLIER_CODES, REVOKE_EARLIER_FAMILIES):
            await execute(statement, row["user_id"], row["auth_time"], only_client)
    return Grant(**row)
