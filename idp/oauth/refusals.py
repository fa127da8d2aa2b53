"""Audit events of refused tokens and codes, within the limit for unauthenticated callers."""

from idp.audit import unauthenticated_limit
from idp.audit.events import note
from idp.errors import Refused


def token_refused(refused: Refused, client_id: str, grant_type: str) -> None:
    """Record that the token endpoint refused a code or a refresh token."""
    _note("token_refused", refused, client_id, grant_type=grant_type)


def access_token_refused(refused: Refused, client_id: str | None, endpoint: str) -> None:
    """Record that an endpoint refused an access token. ``client_id`` is the client of the token, if it is known."""
    _note("access_token_refused", refused, client_id, endpoint=endpoint)


def _note(event: str, refused: Refused, client_id: str | None, **detail: str) -> None:
    family = {"family_id": str(refused.family_id)} if refused.family_id else {}
    note(
        event,
        outcome="failure",
        user_id=refused.user_id,
        client_id=client_id,
        detail=detail | {"reason": refused.reason} | family,
        limit_key=unauthenticated_limit.limit_key(client_id),
    )
