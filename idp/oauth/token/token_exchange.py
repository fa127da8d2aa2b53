"""The token-exchange grant (RFC 8693).

The new token carries on the token family of the subject token, so that it ends with the family and its session. Its
``jti`` begins with that of the subject token, so that it ends with that one too. It lives no longer than either token
of the request (docs/decisions/0067-an-exchanged-token-belongs-to-its-subject.md).
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import msgspec
from msgspec import UNSET

from idp import clock
from idp.errors import InvalidRequestError, InvalidTargetError, OAuthError, Refused
from idp.oauth.access_policies.decision import TokenHolder, check_tokens
from idp.oauth.binding.confirmation import Confirmation, Prove
from idp.oauth.claims.evaluation import access_token_claims
from idp.oauth.claims.models import Place
from idp.oauth.claims.user import ClaimUser
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.details.granted import at_resources, claim_of, covers, invalid
from idp.oauth.details.models import Details
from idp.oauth.details.requested import allowed_type, requested
from idp.oauth.exchange import actors, token_types
from idp.oauth.exchange.actors import Actor
from idp.oauth.exchange.models import ExchangePolicy
from idp.oauth.exchange.parties import Party, read
from idp.oauth.exchange.rules import Exchange, allowed_scopes, choose
from idp.oauth.exchange.trail import Attempt
from idp.oauth.parameters import Parameters, words
from idp.oauth.resources import check_access
from idp.oauth.subjects import subject as subject_for
from idp.oauth.token import id_jag, lifetimes
from idp.oauth.token.access_token import access_token, exchanged_jti, exchanges
from idp.oauth.token.grant import Grant
from idp.oauth.token.issuer import TokenResponse
from idp.oauth.token.jwt_bearer import NO_SIGN_IN
from idp.oauth.token.repository.assertions import insert_asserted_family
from idp.oauth.token_hook.models import NOTHING, Added
from idp.oauth.token_hook.service import Question, added, hook_for
from idp.reasons import Reason
from idp.settings import settings

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
#: The claims about the sign-in that pass to the new token.
_AUTHENTICATION = ("acr", "amr", "auth_time")
_PLACES = (Place.ACCESS_TOKEN,)


async def exchange(client: Client, form: dict[str, str], prove: Prove) -> TokenResponse:
    """Exchange a token for one of the ``requested_token_type``.

    Raises:
        OAuthError: ``invalid_request``, ``invalid_target``, ``invalid_scope`` or ``unauthorized_client`` (section
            2.2.2).
    """
    issue = REQUESTED.get(form.get("requested_token_type", token_types.ACCESS_TOKEN))
    if issue is None:
        raise InvalidRequestError(f"requested_token_type must be {' or '.join(REQUESTED)}.")
    attempt = Attempt(client=client, grant_type=GRANT_TYPE, scope=words(form, "scope"))
    try:
        return await issue(attempt, form, prove)
    except OAuthError as error:
        attempt.refused(error)
        raise


async def _access_token(attempt: Attempt, form: dict[str, str], prove: Prove) -> TokenResponse:
    client = attempt.client
    asked, policy = await _allowed(attempt, form, prove)
    scope = attempt.scope = attempt.scope or sorted(allowed_scopes(policy, asked))
    found = NOTHING
    if hook_for(client, _PLACES) is not None:
        found = await _ask_hook(asked, scope)
        # Since then a token may have been revoked, or a policy changed. The proof is used up.
        asked, policy = await _allowed(attempt, form, partial(_proved, asked.confirmation))
    subject = asked.subject
    details = _details(form, asked)
    lifetime = _lifetime(policy, asked)
    if subject.issuer_id is not None:
        subject = await _start_family(subject, subject.issuer_id, " ".join(scope), asked, lifetime)
    user = _user(subject, found)
    jti = exchanged_jti(subject.claims["jti"])
    token = access_token(
        client,
        subject_for(client, user.id),
        " ".join(scope),
        asked.resource,
        jti,
        confirmation=asked.confirmation,
        lifetime=lifetime,
        about=await access_token_claims(asked.client, scope, asked.resource, user),
        **{name: subject.claims[name] for name in _AUTHENTICATION if name in subject.claims},
        **actors.nested(_chain(policy, asked)),
        **claim_of(details),
    )
    attempt.issued(jti)
    return TokenResponse(
        access_token=token,
        expires_in=lifetime,
        scope=" ".join(scope),
        token_type=asked.confirmation.token_type if asked.confirmation else "Bearer",
        issued_token_type=token_types.ACCESS_TOKEN,
        authorization_details=details or UNSET,
    )


async def _proved(confirmation: Confirmation | None) -> Confirmation | None:
    return confirmation


async def _allowed(attempt: Attempt, form: dict[str, str], prove: Prove) -> tuple[Exchange, ExchangePolicy]:
    """Return what is exchanged, if its tokens are valid and a policy allows it now."""
    client = attempt.client
    subject = attempt.subject = await read(client, form, "subject_token")
    _check_subject(subject)
    has_actor = "actor_token" in form or "actor_token_type" in form
    actor = await read(client, form, "actor_token") if has_actor else None
    named = attempt.actor = _named(actor, client)
    _check_actor(subject, actor, named)
    attempt.resource = _resource(client, form, subject)
    asked = Exchange(
        client=client,
        subject=subject,
        actor=actor,
        resource=attempt.resource,
        scope=attempt.scope,
        confirmation=await prove(),
    )
    policy = attempt.policy = choose(registry.exchange_policies(client), asked)
    for party in asked.parties:
        await _check_access(party, client)
    return asked, policy


async def _start_family(subject: Party, issuer_id: str, scope: str, asked: Exchange, lifetime: int) -> Party:
    """Start the token family of a subject token of another server, which has none: it lives as long as the new token.

    Returns the subject with the ``directory_version`` of the user.

    Raises:
        InvalidRequestError: the user was disabled, or the issuer is no longer trusted.
    """
    if subject.user_id is None or subject.family_id is None:
        raise ValueError("The subject is not a user.")
    grant = Grant(
        family_id=subject.family_id,
        user_id=subject.user_id,
        session_id=None,
        scope=scope,
        resource=list(asked.resource),
        claims=None,
        authorization_details=None,
        nonce=None,
        auth_time=clock.now(),
        auth_age=None,
        amr=[],
        acr=NO_SIGN_IN,
    )
    stored = await insert_asserted_family(grant, asked.client.client_id, lifetime, issuer_id)
    if stored is None:
        raise _refuse("The subject_token is no longer valid.", Reason.CHANGED_MEANWHILE, subject)
    return msgspec.structs.replace(subject, directory_version=stored.directory_version)


def _refuse(description: str, reason: Reason, subject: Party) -> InvalidRequestError:
    return InvalidRequestError(description, refused=Refused(reason, subject.user_id, subject.family_id))


def _check_subject(subject: Party) -> None:
    if subject.user_id is None:
        raise _refuse("The subject_token must be about a user.", Reason.WRONG_TYPE, subject)
    if exchanges(subject.claims["jti"]) >= settings().token_exchange_max_depth:
        raise _refuse("The subject_token was exchanged too often.", Reason.TOO_MANY_EXCHANGES, subject)


async def _check_access(party: Party, client: Client) -> None:
    """Refuse a user, as subject or as actor, who may not use the client that gets the new token.

    Raises:
        AccessDeniedError: as section 2.2.2 says of tokens that are unacceptable by policy.
    """
    if party.user_id is None:
        return
    holder = TokenHolder(
        party.user_id,
        party.claims.get("acr", NO_SIGN_IN),
        party.family_id,
        party.directory_version,
        party.organization_id,
        party.claims.get("amr", ()),
        party.proved_at,
    )
    await check_tokens(client, holder, GRANT_TYPE, code="invalid_request")


def _check_actor(subject: Party, actor: Party | None, named: Actor) -> None:
    """Refuse an actor who acts for somebody already, and one whom the subject token does not allow (section 4.4)."""
    if actor is not None and "act" in actor.claims:
        raise _refuse("The actor_token must be of the actor alone.", Reason.WRONG_ACTOR, subject)
    if "may_act" in subject.claims and not actors.may_act(subject.claims["may_act"], named):
        raise _refuse("The subject_token does not name this actor in may_act.", Reason.WRONG_ACTOR, subject)


def _resource(client: Client, form: Parameters, subject: Party) -> tuple[str, ...]:
    """Return the resource servers of a request, by either parameter (section 2.1); by default those of the token.

    Raises:
        InvalidTargetError: there is none, or one that the client may not access, or the subject token is of another
            server and names only others.
    """
    named = (*words(form, "resource"), *words(form, "audience")) or subject.resource
    found = tuple(dict.fromkeys(map(registry.identifier, named)))
    if not found:
        raise InvalidTargetError("Name the target of the new token with resource or audience.")
    check_access(client, found)
    if subject.issuer_id is not None and subject.resource and not set(found) <= set(subject.resource):
        raise InvalidTargetError("The resource is not one of those of the subject_token.")
    return found


def _details(form: dict[str, str], asked: Exchange) -> Details:
    """Return the authorization details of the subject token for these resource servers and of types that the client is
    registered for, or those of the request, which must be within them.

    Raises:
        OAuthError: ``invalid_authorization_details``.
    """
    held = tuple(detail for detail in asked.subject.details if allowed_type(detail, asked.client))
    held = at_resources(held, asked.resource)
    wanted = requested(form, asked.client)
    if not covers(held, wanted):
        raise invalid("One of the authorization_details was not granted.")
    return wanted or held


def _lifetime(policy: ExchangePolicy, asked: Exchange) -> int:
    """Return the seconds for which the new token is valid: no longer than the tokens of the request."""
    own = lifetimes.of_access_tokens(asked.client)
    left = [int(party.claims["exp"]) - clock.timestamp() for party in asked.parties]
    lifetime = min(policy.max_lifetime or own, own, *left)
    if lifetime <= 0:
        raise _refuse("The subject_token or the actor_token has expired.", Reason.EXPIRED, asked.subject)
    return lifetime


def _named(actor: Party | None, client: Client) -> Actor:
    """Return who acts: whom the actor token names, or else the client."""
    return actors.of_client(client.client_id) if actor is None else actor.as_actor(client)


def _chain(policy: ExchangePolicy, asked: Exchange) -> list[Actor]:
    """Return the actors of the new token, the current one first. Impersonation adds none, and hides none."""
    actor = _named(asked.actor, asked.client)
    before = [
        renamed
        for known in actors.chain(asked.subject.claims)
        if (renamed := actors.renamed(known, asked.subject.client.sector, asked.client)) is not None
    ]
    return before if policy.mode == "impersonation" or before[:1] == [actor] else [actor, *before]


async def _ask_hook(asked: Exchange, scope: Sequence[str]) -> Added:
    """Return the claims that the token hook of the client that gets the new token adds.

    Raises:
        AccessDeniedError: the hook denies the token.
        TokenHookFailedError: it gave no answer.
    """
    return await added(
        Question(
            client=asked.client,
            user=_user(asked.subject, NOTHING),
            at=GRANT_TYPE,
            places=_PLACES,
            scopes=scope,
            resource=asked.resource,
            authentication=asked.subject.claims,
            refused="invalid_request",
        )
    )


def _user(subject: Party, found: Added) -> ClaimUser:
    if subject.user_id is None:
        raise ValueError("The subject is not a user.")
    return ClaimUser(subject.user_id, subject.directory_version, organization_id=subject.organization_id, added=found)


#: What issues a token, by ``requested_token_type``.
REQUESTED: dict[str, Callable[[Attempt, dict[str, str], Prove], Awaitable[TokenResponse]]] = {
    token_types.ACCESS_TOKEN: _access_token,
    id_jag.TOKEN_TYPE: id_jag.issue,
}
