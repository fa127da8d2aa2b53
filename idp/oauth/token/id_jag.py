"""Issuing identity assertions by token exchange (draft-ietf-oauth-identity-assertion-authz-grant section 4.3).

The subject token is the client's own ID token. The assertion is for one other authorization server, and names the
client as it is registered there. It is short-lived, and cannot be revoked.
"""

import secrets
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from idp import clock
from idp.accounts.repository.users import user_by_id
from idp.accounts.tables import User
from idp.audit.events import note
from idp.errors import InvalidRequestError, InvalidScopeError, InvalidTargetError, OAuthError, Refused
from idp.keys.algorithms import DEFAULT_ALGORITHM
from idp.keys.key_set import key_set
from idp.oauth import subjects
from idp.oauth.access_policies.decision import TokenHolder, check_tokens
from idp.oauth.binding.confirmation import Prove
from idp.oauth.claims.models import Place
from idp.oauth.claims.user import ClaimUser
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.clients.uris import normal_url
from idp.oauth.details.granted import invalid
from idp.oauth.exchange import token_types
from idp.oauth.exchange.parties import Party, read
from idp.oauth.exchange.trail import Attempt
from idp.oauth.id_jag.models import IdJagPolicy
from idp.oauth.issuers.verification import ID_JAG_TYPE
from idp.oauth.parameters import Parameters, words
from idp.oauth.token.issuer import TokenResponse
from idp.oauth.token_hook.service import Question, added, hook_for
from idp.reasons import Reason
from idp.settings import settings
from idp.signin.transitions import falls_short

TOKEN_TYPE: Final = f"{token_types.PREFIX}id-jag"
_SAML2: Final = f"{token_types.PREFIX}saml2"
#: The claims about the sign-in that pass from the ID token to the assertion.
_AUTHENTICATION = ("auth_time", "acr", "amr")
_PLACES = (Place.ACCESS_TOKEN,)


class _Allowed(NamedTuple):
    """A request that a policy allows.

    Attributes:
        relying_party: the client by which the audience signs users in here.
    """

    subject: Party
    user: User
    policy: IdJagPolicy
    relying_party: Client | None


def token_types_issued() -> tuple[str, ...]:
    """Return the token type of assertions if any client gets some, for discovery."""
    return (TOKEN_TYPE,) if settings().token_exchange and registry.has_id_jag_policies else ()


async def issue(attempt: Attempt, form: dict[str, str], prove: Prove) -> TokenResponse:
    """Issue an assertion for the audience of a request.

    Raises:
        InvalidRequestError: the subject token is not a valid ID token of this client.
        InvalidTargetError: no policy allows the audience, the resource, or this for the user.
        InvalidScopeError: the policy allows none of the scopes.
        OAuthError: ``insufficient_user_authentication``, ``invalid_authorization_details``.
    """
    client = attempt.client
    allowed = await _allowed(attempt, form)
    await prove()
    if hook_for(client, _PLACES) is not None:
        await _ask_hook(client, allowed)
        # Since then the user may have signed out, or a policy changed.
        allowed = await _allowed(attempt, form)
    subject, user, policy, relying_party = allowed
    scope = _scope(form, policy)
    now, jti = clock.timestamp(), secrets.token_urlsafe(16)
    if relying_party is None and client.sector is not None:
        raise InvalidTargetError("The audience would know the user by another sub than this client.")
    claims = {
        "iss": settings().issuer,
        "sub": subjects.subject(relying_party or client, user.id),
        "aud": policy.audience,
        "client_id": policy.audience_client_id,
        "jti": jti,
        "iat": now,
        "exp": now + settings().id_jag_lifetime,
        **_resources(form, policy),
        **({"scope": scope} if scope else {}),
        **({"email": user.email, "email_verified": True} if policy.email and user.email_verified else {}),
        **{name: subject.claims[name] for name in _AUTHENTICATION if name in subject.claims},
    }
    alg = relying_party.id_token_signed_response_alg if relying_party else DEFAULT_ALGORITHM
    assertion = key_set.sign(alg, ID_JAG_TYPE, claims)
    _record(client, subject, policy, claims)
    return TokenResponse(
        access_token=assertion,
        issued_token_type=TOKEN_TYPE,
        token_type="N_A",  # noqa: S106 -- it is no access token
        expires_in=settings().id_jag_lifetime,
        scope=scope,
    )


async def _allowed(attempt: Attempt, form: dict[str, str]) -> _Allowed:
    """Return whom the request is about, if the subject token is valid and a policy allows it now."""
    client = attempt.client
    subject = attempt.subject = await _subject(client, form)
    attempt.resource = words(form, "resource")
    if "authorization_details" in form:
        raise invalid("Identity assertions have no authorization_details.")
    user = await _user(subject)
    policy = _choose(client, form, user, subject)
    relying_party = _relying_party(policy)
    await _check_access(subject, user, [client] if relying_party is None else [client, relying_party])
    return _Allowed(subject, user, policy, relying_party)


async def _subject(client: Client, form: dict[str, str]) -> Party:
    """Return whom the ID token names, which must be one of the client itself (section 4.3.3)."""
    kind = form.get("subject_token_type")
    if kind == _SAML2:
        raise InvalidRequestError("SAML assertions are not supported. Use the ID token of the client.")
    if kind != token_types.ID_TOKEN:
        raise InvalidRequestError(f"subject_token_type must be {token_types.ID_TOKEN}.")
    if "actor_token" in form or "actor_token_type" in form:
        raise InvalidRequestError("An identity assertion has no actor.")
    subject = await read(client, form, "subject_token")
    if subject.client.client_id != client.client_id:
        refused = Refused(Reason.WRONG_AUDIENCE, subject.user_id, subject.family_id)
        raise InvalidRequestError("The subject_token is not an ID token of this client.", refused=refused)
    return subject


async def _user(subject: Party) -> User:
    user = await user_by_id(subject.user_id) if subject.user_id is not None else None
    if user is None or user.disabled_at is not None:
        refused = Refused(Reason.USER_DISABLED, subject.user_id, subject.family_id)
        raise InvalidRequestError("The subject_token is not valid, has expired or was revoked.", refused=refused)
    return user


async def _check_access(subject: Party, user: User, clients: Iterable[Client]) -> None:
    """Refuse a user who may not use the client, or the application at the audience as far as it signs users in here.

    Raises:
        AccessDeniedError: they may not.
    """
    holder = TokenHolder(
        user.id,
        subject.claims["acr"],
        subject.family_id,
        subject.directory_version,
        subject.organization_id,
        subject.claims.get("amr", ()),
        subject.proved_at,
    )
    for each in clients:
        await check_tokens(each, holder, TOKEN_TYPE, code="invalid_request")


async def _ask_hook(client: Client, allowed: _Allowed) -> None:
    """Let the token hook of the client deny the assertion. The claims that it adds are not for other servers.

    Raises:
        AccessDeniedError: it does.
        TokenHookFailedError: it gave no answer.
    """
    subject, user = allowed.subject, allowed.user
    await added(
        Question(
            client=client,
            user=ClaimUser(user.id, subject.directory_version, organization_id=subject.organization_id),
            at=TOKEN_TYPE,
            places=_PLACES,
            scopes=sorted(subject.scope),
            authentication=subject.claims,
            refused="invalid_request",
        )
    )


def _choose(client: Client, form: Parameters, user: User, subject: Party) -> IdJagPolicy:
    """Return the first policy that allows the audience and the resources for the user."""
    audience, resource = words(form, "audience"), set(map(normal_url, words(form, "resource")))
    if len(audience) != 1:
        raise InvalidRequestError("audience must name one authorization server.")
    fitting = [
        policy
        for policy in registry.id_jag_policies(client.client_id)
        if normal_url(policy.audience) == normal_url(audience[0])
        and resource <= set(map(normal_url, policy.resources))
        and _is_for(policy, user)
    ]
    if not fitting:
        refused = Refused(Reason.NO_POLICY, user.id, subject.family_id)
        description = "No policy allows this audience and resource for the user."
        raise OAuthError("invalid_target", description, refused=refused)
    policy = fitting[0]
    if policy.acr is not None and falls_short(subject.claims["acr"], policy.acr):
        # RFC 9470 section 3, as section 9.2 of the draft says.
        raise OAuthError("insufficient_user_authentication", "The user must sign in with a higher level.")
    return policy


def _is_for(policy: IdJagPolicy, user: User) -> bool:
    """Return whether a policy is for a user."""
    domain = user.email.rpartition("@")[2]
    in_domain = not policy.email_domains or (user.email_verified and domain in policy.email_domains)
    return in_domain and (not policy.user_ids or user.id in policy.user_ids)


def _scope(form: Parameters, policy: IdJagPolicy) -> str:
    """Return the scopes that are asked for, as far as the policy allows them; by default all that it allows."""
    allowed = policy.scope.split()
    asked = words(form, "scope")
    granted = [name for name in asked if name in allowed] if asked else allowed
    if asked and not granted:
        raise InvalidScopeError("The policy of this client allows none of the scopes.")
    return " ".join(granted)


def _resources(form: Parameters, policy: IdJagPolicy) -> dict[str, Any]:
    """Return the claim ``resource``: those of the request, as the policy writes them; by default all of the policy."""
    asked = set(map(normal_url, words(form, "resource")))
    found = [name for name in policy.resources if not asked or normal_url(name) in asked]
    return {"resource": found if len(found) > 1 else found[0]} if found else {}


def _relying_party(policy: IdJagPolicy) -> Client | None:
    """Return the client by which the audience signs users in here.

    Raises:
        InvalidTargetError: it is disabled.
    """
    if policy.relying_party is None:
        return None
    found = registry.client(policy.relying_party)
    if found is None:
        raise InvalidTargetError("The relying party of this audience is disabled.")
    return found


def _record(client: Client, subject: Party, policy: IdJagPolicy, claims: dict[str, Any]) -> None:
    """Record who got an assertion about whom, and for what."""
    shown = ("sub", "client_id", "jti", "resource", "scope")
    note(
        "id_jag_issued",
        user_id=subject.user_id,
        client_id=client.client_id,
        session_id=subject.session_id,
        detail={
            "policy": str(policy.id),
            "audience": policy.audience,
            "family_id": str(subject.family_id),
            **{name: claims[name] for name in shown if name in claims},
        },
    )
