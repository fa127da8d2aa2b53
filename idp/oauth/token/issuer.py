"""The token response (RFC 6749 section 5.1) and the issue of tokens for a user's grant."""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, UnsetType

from idp.audit.buffer import token_issued
from idp.oauth.binding.confirmation import Confirmation
from idp.oauth.claims.evaluation import access_token_claims
from idp.oauth.claims.user import ClaimUser
from idp.oauth.clients.models import Client
from idp.oauth.details.granted import at_resources, claim_of, from_json
from idp.oauth.details.models import Details
from idp.oauth.subjects import subject
from idp.oauth.token import lifetimes
from idp.oauth.token.access_token import access_token, family_jti
from idp.oauth.token.grant import Grant
from idp.oauth.token.id_token import Beside, id_token
from idp.oauth.token_hook.models import NOTHING, Added


class TokenResponse(msgspec.Struct, frozen=True):
    """A token response (RFC 6749 section 5.1, OpenID Connect Core section 3.1.3.3, RFC 8693 section 2.2.1)."""

    access_token: str
    expires_in: int
    scope: str
    token_type: str = "Bearer"
    id_token: str | UnsetType = UNSET
    refresh_token: str | UnsetType = UNSET
    authorization_details: Details | UnsetType = UNSET
    issued_token_type: str | UnsetType = UNSET


async def issue(
    client: Client,
    grant: Grant,
    refresh_token: str | UnsetType = UNSET,
    *,
    grant_type: str,
    scope: str | None = None,
    resource: Sequence[str] = (),
    confirmation: Confirmation | None = None,
    details: Details = (),
    added: Added = NOTHING,
) -> TokenResponse:
    """Issue the access token of a grant, and the ID token if OpenID Connect is used.

    Args:
        grant_type: for the audit trail.
        scope: the narrower scope of a refresh request; None: the granted scope.
        resource: the granted resources that the access token is for (RFC 8707 section 2.2); empty: all.
        confirmation: the key that the access token is bound to.
        details: the narrower authorization details of the request (RFC 9396 section 6); empty: all that were granted.
        added: the claims about the user that a token hook adds, by place.
    """
    resource = resource or grant.resource
    details = at_resources(details or from_json(grant.authorization_details), resource)
    scope, jti = grant.scope if scope is None else scope, family_jti(grant.family_id)
    user = ClaimUser(grant.user_id, grant.directory_version, organization_id=grant.organization_id, added=added)
    token = access_token(
        client,
        subject(client, grant.user_id),
        scope,
        resource,
        jti,
        confirmation=confirmation,
        about=await access_token_claims(client, scope.split(), resource, user),
        **grant.authentication_claims,
        **claim_of(details),
    )
    token_issued(
        grant_type,
        client.client_id,
        jti,
        user_id=grant.user_id,
        session_id=grant.session_id,
        family_id=grant.family_id,
    )
    return TokenResponse(
        access_token=token,
        expires_in=lifetimes.of_access_tokens(client),
        scope=scope,
        token_type=confirmation.token_type if confirmation else "Bearer",
        id_token=await id_token(client, grant, scope, Beside(token), added) if "openid" in scope.split() else UNSET,
        refresh_token=refresh_token,
        authorization_details=details or UNSET,
    )
