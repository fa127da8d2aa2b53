"""Why a refresh token, a code or an access token was refused, for audit and log.

The deciding statements return a row or none. The statements here run only after one of them has refused; they read and
decide nothing. A reason can be stale, because another request may change the rows after the refusal.
"""

from datetime import datetime

from idp.errors import Refused
from idp.oauth.binding.confirmation import Confirmation
from idp.oauth.clients.nearest_redirect import shown
from idp.oauth.repository import states
from idp.oauth.repository.live_tokens import TokenOfUser
from idp.oauth.repository.states import CodeState, FamilyState
from idp.oauth.token.refresh_jwt import PresentedRefreshToken
from idp.oauth.token.repository.codes import CodeRedemption
from idp.reasons import Reason
from idp.trace import recorder

#: By ``token_family.revoked_reason``. A change of credentials has many names, and is the rest.
REVOKED = {
    "authorization_code_reuse": Reason.REVOKED_FOR_REUSE,
    "device_code_reuse": Reason.REVOKED_FOR_REUSE,
    "refresh_token_reuse": Reason.REVOKED_FOR_REUSE,
    "revoked_by_client": Reason.REVOKED_BY_CLIENT,
    "consent_withdrawn": Reason.REVOKED_BY_USER,
    "signed_out_by_user": Reason.REVOKED_BY_USER,
    "not_me": Reason.REVOKED_BY_USER,
    "signed_out_by_admin": Reason.REVOKED_BY_ADMIN,
    "client_made_public": Reason.REVOKED_BY_ADMIN,
    "client_sector_changed": Reason.REVOKED_BY_ADMIN,
    "client_deleted": Reason.REVOKED_BY_ADMIN,
    "issuer_distrusted": Reason.REVOKED_BY_ADMIN,
    "not_before": Reason.ISSUED_TOO_EARLY,
    "client_disabled": Reason.CLIENT_DISABLED,
    "user_disabled": Reason.USER_DISABLED,
    "user_contained": Reason.REVOKED_BY_INCIDENT,
    "client_contained": Reason.REVOKED_BY_INCIDENT,
    "upstream_contained": Reason.REVOKED_BY_INCIDENT,
    "single_session": Reason.REVOKED_BY_NEWER_SIGN_IN,
    "database_restored": Reason.REVOKED_BY_RESTORE,
}


def _of_family(state: FamilyState, not_before: datetime) -> Reason | None:
    """Why a family yields no tokens, if it does not."""
    if state.revoked:
        return REVOKED.get(state.revoked_reason or "", Reason.REVOKED_BY_CREDENTIAL_CHANGE)
    causes = (
        (state.user_disabled, Reason.USER_DISABLED),
        (state.family_expired, Reason.FAMILY_EXPIRED),
        (state.created_at < not_before, Reason.ISSUED_TOO_EARLY),
        (state.session_ended, Reason.SESSION_ENDED),
        (state.not_member, Reason.NOT_A_MEMBER),
    )
    return next((reason for holds, reason in causes if holds), None)


async def refused_refresh_token(token: PresentedRefreshToken, client_id: str, not_before: datetime) -> Refused:
    """Why a refresh token with a valid signature and ``exp`` was refused."""
    state = await states.state_of_refresh_token(token.user_id, token.family_id, token.jti, token.hash)
    if state is None:
        return Refused(Reason.UNKNOWN, token.user_id, token.family_id)
    recorder.step(
        "refresh_token_examined",
        issued_at=state.issued_at,
        expires_at=state.expires_at,
        rotated_at=state.rotated_at,
        family_revoked_at=state.revoked_at,
        family_revoked_because=state.revoked_reason,
        family_expires_at=state.family_expires_at,
        session_ended_at=state.session_ended_at,
        session_ended_because=state.session_ended_because,
    )
    reason = Reason.WRONG_CLIENT if state.client_id != client_id else _of_family(state, not_before)
    causes = (
        (not state.known, Reason.UNKNOWN),
        (state.expired, Reason.EXPIRED),
        (state.rotated, Reason.ROTATED),
        (True, state.unmet or Reason.CHANGED_MEANWHILE),
    )
    reason = reason or next(reason for holds, reason in causes if holds)
    return Refused(reason, state.user_id, state.family_id)


async def refused_code(redemption: CodeRedemption) -> Refused:
    """Why an authorization code was refused."""
    state = await states.state_of_code(redemption.user_id, redemption.code_hash)
    if state is None:
        return Refused(Reason.UNKNOWN, redemption.user_id)
    recorder.follow(state.trace_id)
    with recorder.explanation:
        recorder.step(
            "code_examined",
            issued_at=state.created_at,
            expires_at=state.expires_at,
            used=state.consumed,
            redirect_uri_sent=shown(redemption.redirect_uri),
            redirect_uri_expected=state.redirect_uri,
            verifier=_verifier(redemption, state),
            session_ended_because=state.session_ended_because,
        )
    bound = Confirmation.from_json(state.confirmation)
    wrong_key = bound.refuses(redemption.confirmation) if bound else None
    causes = (
        (state.client_id != redemption.client_id, Reason.WRONG_CLIENT),
        (state.consumed and state.family_id is not None, Reason.REUSED),
        (state.user_disabled, Reason.USER_DISABLED),
        (state.session_ended, Reason.SESSION_ENDED),
        (state.consumed, Reason.REVOKED),
        (state.not_member, Reason.NOT_A_MEMBER),
        (state.expired, Reason.EXPIRED),
        (state.redirect_uri != redemption.redirect_uri, Reason.WRONG_REDIRECT_URI),
        (state.code_challenge != redemption.code_challenge, Reason.PKCE_MISMATCH),
        (state.created_at < redemption.not_before, Reason.ISSUED_TOO_EARLY),
        (wrong_key is not None, wrong_key or Reason.WRONG_KEY),
        (True, state.unmet or Reason.CHANGED_MEANWHILE),
    )
    return Refused(next(reason for holds, reason in causes if holds), state.user_id, state.family_id)


def _verifier(redemption: CodeRedemption, state: CodeState) -> str:
    """Return how the code_verifier compares with the code_challenge."""
    if redemption.code_challenge == state.code_challenge:
        return "right" if state.code_challenge else "none, and none is needed"
    if redemption.code_challenge is None:
        return "missing: the authorization request had a code_challenge"
    if state.code_challenge is None:
        return "sent, but the authorization request had no code_challenge"
    return "does not belong to the code_challenge"


async def refused_access_token(token: TokenOfUser, not_before: datetime) -> Refused:
    """Why an access token of a family was refused, whose signature and times are right."""
    state = await states.state_of_access_token(token)
    if state is None:
        return Refused(Reason.UNKNOWN, token.user_id, token.family_id)
    reason = Reason.REVOKED_BY_CLIENT if state.token_revoked else _of_family(state, not_before)
    return Refused(reason or Reason.CHANGED_MEANWHILE, state.user_id, token.family_id)
