"""The JWT bearer grant (RFC 7521 section 4.1, RFC 7523 section 2.1): a token of a trusted issuer for an access token.

A token of the type ``oauth-id-jag+jwt`` is an identity assertion authorization grant
(draft-ietf-oauth-identity-assertion-authz-grant section 4.4). The user is not asked: the operator has decided by the
rule of the issuer. There is no refresh token and no ID token. The family of the access token ends with the trust in
its issuer (docs/decisions/0068-tokens-of-other-servers.md).
"""

import json
import secrets
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import UNSET

from idp import clock, ids
from idp.audit.buffer import token_issued
from idp.audit.events import note
from idp.errors import InvalidGrantError, InvalidRequestError, InvalidScopeError, InvalidTargetError, Refused
from idp.keys import jose
from idp.oauth import subjects
from idp.oauth.access_policies.decision import check_tokens
from idp.oauth.binding.confirmation import Confirmation, Prove
from idp.oauth.claims.evaluation import access_token_claims
from idp.oauth.claims.models import Place
from idp.oauth.claims.user import ClaimUser
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.details.granted import at_resources, claim_of, covers, invalid, to_json
from idp.oauth.details.models import Details
from idp.oauth.details.requested import requested_without_user, resources_of_request
from idp.oauth.issuers.models import Purpose
from idp.oauth.issuers.verification import UntrustedTokenError, VerifiedAssertion, is_id_jag, use_up, verify_external
from idp.oauth.parameters import Parameters, words
from idp.oauth.resources import default_scope, requested_resources
from idp.oauth.token import lifetimes
from idp.oauth.token.access_token import access_token, family_jti
from idp.oauth.token.grant import Grant
from idp.oauth.token.issuer import TokenResponse
from idp.oauth.token.repository.assertions import insert_asserted_family
from idp.oauth.token_hook.grants import ask
from idp.oauth.token_hook.models import NOTHING, Added
from idp.oauth.token_hook.service import hook_for
from idp.reasons import Reason
from idp.settings import settings

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
#: The profile of identity assertions, in discovery (section 7.2 of the draft).
ID_JAG_PROFILE: Final = "urn:ietf:params:oauth:grant-profile:id-jag"
#: The ``acr`` of a user who did not sign in here (OpenID Connect Core section 2).
NO_SIGN_IN: Final = "0"
#: Maximum number of values of ``amr``, and of characters of each, that are taken over.
_MAX_AMR, _MAX_AMR_LENGTH = 10, 20
_PLACES = (Place.ACCESS_TOKEN,)


class _Granted(msgspec.Struct, frozen=True):
    """What an access token allows."""

    scope: str
    resource: tuple[str, ...]
    details: Details


def is_on() -> bool:
    """Return whether the token endpoint supports the grant."""
    return settings().jwt_bearer


def profiles() -> tuple[str, ...]:
    """Return the profiles of the grant that are supported, for discovery."""
    return (ID_JAG_PROFILE,) if is_on() and registry.has_trusted_issuer(Purpose.ID_JAG) else ()


async def redeem(client: Client, form: dict[str, str], prove: Prove) -> TokenResponse:
    """Issue an access token for an assertion, once.

    Raises:
        InvalidGrantError: the assertion is not valid, or was used.
        AccessDeniedError: its user may not use the client.
        InvalidScopeError: it gives none of the scopes.
        InvalidTargetError: it is not for a resource, or the client may get no tokens for it.
        OAuthError: ``invalid_authorization_details``.
    """
    token = form.get("assertion")
    if token is None:
        raise InvalidRequestError("assertion is missing.")
    try:
        assertion = await verify_external(token, Purpose.ID_JAG if is_id_jag(token) else Purpose.JWT_BEARER, client)
        granted = _granted(client, form, assertion)
        grant = _grant(assertion, granted)
        if grant is not None:
            await check_tokens(client, grant, GRANT_TYPE)
        confirmation = await prove()
        added = NOTHING
        if grant is not None and hook_for(client, _PLACES) is not None:
            added = await ask(client, grant, GRANT_TYPE, places=_PLACES)
            # Since then the user may have lost what the policy of the client demands.
            await check_tokens(client, grant, GRANT_TYPE)
        await use_up(assertion)
    except UntrustedTokenError as error:
        raise _invalid(error.refused) from error
    return await _issue(client, assertion, granted, grant, confirmation, added=added)


def _invalid(refused: Refused) -> InvalidGrantError:
    """Return the same error for every reason."""
    return InvalidGrantError("The assertion is not valid for this client, has expired or was used.", refused)


def _granted(client: Client, form: Parameters, assertion: VerifiedAssertion) -> _Granted:
    """Return what the request, the assertion, its issuer and the client all allow."""
    named = _named_resources(form, assertion)
    scope = _scope(client, form, assertion, named)
    details = _details(client, form, assertion)
    resource = resources_of_request({"resource": " ".join(named)}, client, scope, details)
    if not all(registry.may_access(client, one) and registry.builtin(one) is None for one in resource):
        raise InvalidTargetError("The resource is not registered, or not open to this client.")
    return _Granted(" ".join(scope), resource, at_resources(details, resource))


def _named_resources(form: Parameters, assertion: VerifiedAssertion) -> tuple[str, ...]:
    """Return the resources of the request, which must be among those of the assertion; by default the latter."""
    asserted, asked = assertion.resource, requested_resources(form)
    if asserted and not set(asked) <= set(asserted):
        raise InvalidTargetError("The resource is not one of those of the assertion.")
    return asked or asserted


def _scope(client: Client, form: Parameters, assertion: VerifiedAssertion, named: Iterable[str]) -> tuple[str, ...]:
    """Return the scopes that are asked for, as far as they are allowed (RFC 6749 section 3.3)."""
    allowed = client.scopes & set(assertion.issuer.scope.split())
    asserted = assertion.scope
    asked = words(form, "scope") or (default_scope(client, tuple(named)) if asserted is None else asserted)
    scope = tuple(name for name in asked if name in allowed and (asserted is None or name in asserted))
    if asked and not scope:
        raise InvalidScopeError("The assertion, its issuer or this client does not allow any of the scopes.")
    return scope


def _details(client: Client, form: Parameters, assertion: VerifiedAssertion) -> Details:
    """Return the authorization details of the request, which must be within those of the assertion; by default the
    latter.

    Raises:
        OAuthError: ``invalid_authorization_details``.
    """
    asked = requested_without_user(form, client)
    claim = assertion.claims.get("authorization_details")
    if claim is None and assertion.user_id is None:
        return asked
    asserted = requested_without_user({"authorization_details": json.dumps(claim)}, client) if claim else ()
    if not covers(asserted, asked):
        raise invalid("One of the authorization_details is not within those of the assertion.")
    return asked or asserted


def _malformed(assertion: VerifiedAssertion) -> InvalidGrantError:
    return _invalid(Refused(Reason.MALFORMED, assertion.user_id))


async def _issue(
    client: Client,
    assertion: VerifiedAssertion,
    granted: _Granted,
    grant: Grant | None,
    confirmation: Confirmation | None,
    *,
    added: Added,
) -> TokenResponse:
    lifetime = lifetimes.of_access_tokens(client)
    about: dict[str, Any] = {}
    if grant is None:
        subject, jti, signed_in = client.client_id, secrets.token_urlsafe(16), {}
    else:
        stored = await insert_asserted_family(grant, client.client_id, lifetime, assertion.issuer.id)
        if stored is None:
            raise _invalid(Refused(Reason.CHANGED_MEANWHILE, grant.user_id))
        subject, jti = subjects.subject(client, grant.user_id), family_jti(grant.family_id)
        signed_in = grant.authentication_claims
        user = ClaimUser(grant.user_id, stored.directory_version, added=added)
        about = await access_token_claims(client, granted.scope.split(), granted.resource, user)
    token = access_token(
        client,
        subject,
        granted.scope,
        granted.resource,
        jti,
        confirmation=confirmation,
        about=about,
        **signed_in,
        **claim_of(granted.details),
    )
    _record(client, assertion, granted, grant, jti)
    return TokenResponse(
        access_token=token,
        expires_in=lifetime,
        scope=granted.scope,
        token_type=confirmation.token_type if confirmation else "Bearer",
        authorization_details=granted.details or UNSET,
    )


def _grant(assertion: VerifiedAssertion, granted: _Granted) -> Grant | None:
    """Return the grant of a user; None for a client in its own name."""
    if assertion.user_id is None:
        return None
    now = clock.now()
    try:
        signed_in = jose.foreign_time(assertion.claims, "auth_time")
    except jose.InvalidJWTError as error:
        raise _malformed(assertion) from error
    return Grant(
        family_id=ids.uuid7(),
        user_id=assertion.user_id,
        session_id=None,
        scope=granted.scope,
        resource=granted.resource,
        claims=None,
        authorization_details=to_json(granted.details),
        nonce=None,
        auth_time=now,
        auth_age=None if signed_in is None else max(0, int(now.timestamp() - signed_in)),
        amr=_amr(assertion.claims.get("amr")),
        acr=NO_SIGN_IN,
    )


def _amr(claim: Any) -> tuple[str, ...]:
    """Return how the user signed in there, as far as it is well-formed."""
    values = claim if isinstance(claim, list) else []
    fit = (
        value for value in values if isinstance(value, str) and value.isprintable() and len(value) <= _MAX_AMR_LENGTH
    )
    return tuple(dict.fromkeys(fit))[:_MAX_AMR]


def _record(client: Client, assertion: VerifiedAssertion, granted: _Granted, grant: Grant | None, jti: str) -> None:
    """Record who vouched for whom, and what for."""
    family_id = grant.family_id if grant is not None else None
    token_issued(GRANT_TYPE, client.client_id, jti, user_id=assertion.user_id, family_id=family_id)
    note(
        "assertion_accepted",
        user_id=assertion.user_id,
        client_id=client.client_id,
        detail={
            "purpose": assertion.purpose,
            "issuer": assertion.issuer.issuer,
            "subject": assertion.subject,
            "assertion_jti": assertion.claims["jti"],
            "scope": granted.scope,
            "resource": " ".join(granted.resource),
            "jti": jti,
        },
    )
