"""The client_credentials grant: a client in its own name (RFC 6749 section 4.4)."""

import secrets
from functools import lru_cache

from msgspec import UNSET

from idp.audit.buffer import token_issued
from idp.errors import InvalidScopeError
from idp.oauth.binding.confirmation import Prove
from idp.oauth.clients.models import Client
from idp.oauth.details.granted import claim_of
from idp.oauth.details.requested import requested_without_user, resources_of_request
from idp.oauth.parameters import words
from idp.oauth.resources import check_access
from idp.oauth.scopes import STANDARD_SCOPES
from idp.oauth.token import lifetimes
from idp.oauth.token.access_token import access_token
from idp.oauth.token.issuer import TokenResponse
from idp.trace import recorder


@lru_cache(maxsize=1024)
def _own_scopes(scope: str) -> tuple[str, ...]:
    """Return the scopes of a client that are not about a user."""
    return tuple(sorted(set(scope.split()) - STANDARD_SCOPES.keys()))


async def issue(client: Client, form: dict[str, str], prove: Prove) -> TokenResponse:
    """Issue an access token whose subject is the client itself. There is no user, so no ID token and no refresh token.

    Raises:
        InvalidScopeError: the client does not have a scope, or it is about a user.
        InvalidTargetError: a resource is not registered, or not open to the client, or authorization details are for
            another one.
        OAuthError: ``invalid_authorization_details``.
    """
    details = requested_without_user(form, client)
    allowed = _own_scopes(client.scope)
    wanted = words(form, "scope") if "scope" in form or details else allowed
    if not set(wanted) <= set(allowed):
        recorder.step("scope_refused", scope=sorted(set(wanted) - set(allowed)), allowed=allowed)
        raise InvalidScopeError("A scope is unknown, not allowed to this client, or only for users.")
    resource = resources_of_request(form, client, wanted, details)
    check_access(client, resource)
    confirmation = await prove()
    scope, jti = " ".join(wanted), secrets.token_urlsafe(16)
    token_issued("client_credentials", client.client_id, jti)
    return TokenResponse(
        access_token=access_token(
            client, client.client_id, scope, resource, jti, confirmation=confirmation, **claim_of(details)
        ),
        expires_in=lifetimes.of_access_tokens(client),
        scope=scope,
        token_type=confirmation.token_type if confirmation else "Bearer",
        authorization_details=details or UNSET,
    )
