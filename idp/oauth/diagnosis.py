"""Why a refresh token, a code or an access token was refused, for audit and log.

The statements that decide find a row or none, and tell nothing more. These run only after one of them has refused. They
read, and decide nothing. A reason can be stale: it is read after the refusal, and another request may have changed the
rows in between.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from idp.errors import Refused
from idp.infra.db.engine import fetchrow
from idp.oauth.statements import STATE_OF_ACCESS_TOKEN, STATE_OF_CODE, STATE_OF_REFRESH_TOKEN
from idp.reasons import Reason

#: By ``token_family.revoked_reason``. A change of credentials has many names, and is the rest.
REVOKED = {
    "authorization_code_reuse": Reason.REVOKED_FOR_REUSE,
    "refresh_token_reuse": Reason.REVOKED_FOR_REUSE,
    "revoked_by_client": Reason.REVOKED_BY_CLIENT,
    "consent_withdrawn": Reason.REVOKED_BY_USER,
    "signed_out_by_user": Reason.REVOKED_BY_USER,
    "signed_out_by_admin": Reason.REVOKED_BY_ADMIN,
    "client_made_public": Reason.REVOKED_BY_ADMIN,
    "client_deleted": Reason.REVOKED_BY_ADMIN,
    "client_disabled": Reason.CLIENT_DISABLED,
    "user_disabled": Reason.USER_DISABLED,
    "user_contained": Reason.REVOKED_BY_INCIDENT,
    "client_contained": Reason.REVOKED_BY_INCIDENT,
    "upstream_contained": Reason.REVOKED_BY_INCIDENT,
    "single_session": Reason.REVOKED_BY_NEWER_SIGN_IN,
    "database_restored": Reason.REVOKED_BY_RESTORE,
}


def _of_family(state: Mapping[str, Any], not_before: datetime) -> Reason | None:
    """Why a family yields no tokens, if it does not."""
    if state["revoked"]:
        return REVOKED.get(state["revoked_reason"], Reason.REVOKED_BY_CREDENTIAL_CHANGE)
    causes = (
        (state["user_disabled"], Reason.USER_DISABLED),
        (state["created_at"] < not_before, Reason.ISSUED_TOO_EARLY),
        (state["family_expired"], Reason.FAMILY_EXPIRED),
        (state["session_ended"], Reason.SESSION_ENDED),
    )
    return next((reason for holds, reason in causes if holds), None)


async def refused_refresh_token(
    jti: UUID, token_hash: bytes, family_id: UUID | None, client_id: str, not_before: datetime
) -> Refused:
    """Why a refresh token that we made, and whose ``exp`` is not over, was refused."""
    state = await fetchrow(STATE_OF_REFRESH_TOKEN, family_id, jti, token_hash)
    if state is None:
        return Refused(Reason.UNKNOWN, family_id=family_id)
    reason = Reason.WRONG_CLIENT if state["client_id"] != client_id else _of_family(state, not_before)
    causes = (
        (not state["known"], Reason.UNKNOWN),
        (state["expired"], Reason.EXPIRED),
        (state["rotated"], Reason.ROTATED),
        (True, Reason.CHANGED_MEANWHILE),
    )
    reason = reason or next(reason for holds, reason in causes if holds)
    return Refused(reason, state["user_id"], state["family_id"])


async def refused_code(
    code_hash: bytes, client_id: str, redirect_uri: str, code_challenge: str | None, not_before: datetime
) -> Refused:
    """Why an authorization code was refused."""
    state = await fetchrow(STATE_OF_CODE, code_hash)
    if state is None:
        return Refused(Reason.UNKNOWN)
    causes = (
        (state["client_id"] != client_id, Reason.WRONG_CLIENT),
        (state["consumed"] and state["family_id"] is not None, Reason.REUSED),
        (state["user_disabled"], Reason.USER_DISABLED),
        (state["session_ended"], Reason.SESSION_ENDED),
        (state["consumed"], Reason.REVOKED),
        (state["expired"], Reason.EXPIRED),
        (state["redirect_uri"] != redirect_uri, Reason.WRONG_REDIRECT_URI),
        (state["code_challenge"] != code_challenge, Reason.PKCE_MISMATCH),
        (state["created_at"] < not_before, Reason.ISSUED_TOO_EARLY),
        (True, Reason.CHANGED_MEANWHILE),
    )
    return Refused(next(reason for holds, reason in causes if holds), state["user_id"], state["family_id"])


async def refused_access_token(family_id: UUID, jti: str, not_before: datetime) -> Refused:
    """Why an access token of a family was refused, whose signature and times are right."""
    state = await fetchrow(STATE_OF_ACCESS_TOKEN, family_id, jti)
    if state is None:
        return Refused(Reason.UNKNOWN, family_id=family_id)
    reason = Reason.REVOKED_BY_CLIENT if state["token_revoked"] else _of_family(state, not_before)
    return Refused(reason or Reason.CHANGED_MEANWHILE, state["user_id"], family_id)
