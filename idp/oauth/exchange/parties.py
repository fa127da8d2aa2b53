"""Reading the subject token and the actor token of a request (RFC 8693 section 2.1)."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from idp import ids
from idp.accounts.repository.admin_roles import roles_of_user
from idp.errors import InvalidRequestError, Refused
from idp.keys import jose
from idp.keys.key_set import key_set
from idp.oauth import access_tokens, subjects
from idp.oauth.binding.confirmation import Confirmation
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.clients.stored import stored_client
from idp.oauth.details.granted import from_json
from idp.oauth.details.models import Details
from idp.oauth.details.requested import allowed_type
from idp.oauth.diagnosis import refused_access_token
from idp.oauth.exchange import actors, token_types
from idp.oauth.exchange.actors import Actor
from idp.oauth.issuers.models import Purpose
from idp.oauth.issuers.verification import UntrustedTokenError, verify_external
from idp.oauth.parameters import Parameters
from idp.oauth.repository import live_tokens
from idp.oauth.repository.live_tokens import LiveSubject, TokenOfUser
from idp.oauth.token.access_token import family_jti, family_of, lineage
from idp.oauth.token.jwt_bearer import NO_SIGN_IN
from idp.oauth.token_types import is_access_token
from idp.reasons import Reason
from idp.settings import settings


class Party(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a token names, and what it allows.

    Attributes:
        token_type: the token type identifier.
        claims: the verified claims.
        client: the client that the token was issued to, or that may present it if another server issued it.
        issuer_id: the id of the trusted issuer of a token that is not ours. Its family starts with the exchange.
        user_id, family_id, session_id: None for a client that acts in its own name.
        organization_id: the organization that the user signed in for.
        directory_version: the version of the groups and roles of the user, if it is known.
        is_admin: whether the user has a role at the admin API.
        scope: the scopes of the token, or of its family for an ID token.
        resource: the resource servers that it is for.
        details: its authorization details.
    """

    token_type: str
    claims: Mapping[str, Any]
    client: Client
    issuer_id: str | None = None
    user_id: UUID | None = None
    family_id: UUID | None = None
    session_id: UUID | None = None
    organization_id: UUID | None = None
    directory_version: int | None = None
    is_admin: bool = False
    scope: frozenset[str]
    resource: tuple[str, ...] = ()
    details: Details = ()

    @property
    def audience(self) -> Sequence[str]:
        """The ``aud`` of the token."""
        return jose.audience(self.claims)

    @property
    def proved_at(self) -> datetime | None:
        """When the user proved their identity; None: unknown."""
        at = self.claims.get("auth_time")
        return datetime.fromtimestamp(at, UTC) if isinstance(at, int) else None

    @property
    def bound(self) -> Confirmation | None:
        """The key that the token is bound to."""
        return Confirmation.of(self.claims)

    def as_actor(self, client: Client) -> Actor:
        """Return how a token for a client names this party."""
        if self.user_id is None:
            return actors.of_client(self.client.client_id)
        return {"sub": subjects.subject(client, self.user_id)}


#: Returns whom a token names that a client presents, or why it is refused.
ReadToken = Callable[[str, Client], Awaitable[Party | Refused]]


async def _access_token(token: str, _presenter: Client) -> Party | Refused:
    found = await access_tokens.identify(token)
    if isinstance(found, Refused):
        return found
    claims, client, named = found
    party = Party(
        token_type=token_types.ACCESS_TOKEN,
        claims=claims,
        client=client,
        scope=frozenset(claims["scope"].split()),
        resource=tuple(name for name in jose.audience(claims) if name != settings().issuer),
        details=tuple(claims.get("authorization_details", ())),
    )
    if named is None:
        revoked = await live_tokens.is_access_token_revoked(claims["jti"])
        return Refused(Reason.REVOKED_BY_CLIENT) if revoked else party
    live = await live_tokens.live_subject(named)
    return await _refused(named, client) if live is None else _with_user(party, named, live)


async def _id_token(token: str, _presenter: Client) -> Party | Refused:
    """An ID token has no scopes of its own: it allows what its token family and the registration of its client allow,
    while its session lives.
    """
    found = await _identify_id_token(token)
    if isinstance(found, Refused):
        return found
    claims, client, named = found
    live = await live_tokens.live_subject(named)
    if live is None:
        return await _refused(named, client)
    # A user who allowed the client elsewhere has no session that could end.
    if "sid" in claims and not live.session_lives:
        return Refused(Reason.SESSION_ENDED, named.user_id, named.family_id)
    party = Party(
        token_type=token_types.ID_TOKEN,
        claims=claims,
        client=client,
        scope=client.scopes.intersection(live.scope.split()),
        resource=tuple(live.resource),
        details=tuple(detail for detail in from_json(live.authorization_details) if allowed_type(detail, client)),
    )
    return _with_user(party, named, live)


async def _identify_id_token(token: str) -> tuple[Mapping[str, Any], Client, TokenOfUser] | Refused:
    try:
        claims = jose.verify(token, key_set.verification(), typ="JWT")
        jose.check_times(claims)
    except jose.InvalidJWTError as error:
        return Refused(error.reason)
    # Other JWTs for clients have no ``nonce``, ``auth_time`` or ``acr``; the last is in each of our ID tokens.
    if is_access_token(claims) or "acr" not in claims:
        return Refused(Reason.WRONG_TYPE)
    if claims["iss"] != settings().issuer:
        return Refused(Reason.WRONG_ISSUER)
    client, family_id = await stored_client(claims["aud"]), family_of(claims["jti"])
    if client is None:
        return Refused(Reason.CLIENT_DISABLED, family_id=family_id)
    user_id = subjects.user_of(client.sector, claims["sub"])
    if user_id is None or family_id is None:
        return Refused(Reason.UNKNOWN, family_id=family_id)
    if claims["iat"] < registry.not_before(client).timestamp():
        return Refused(Reason.ISSUED_TOO_EARLY, user_id, family_id)
    return claims, client, TokenOfUser(user_id, family_id, " ".join(lineage(claims["jti"])))


async def _refused(named: TokenOfUser, client: Client) -> Refused:
    return await refused_access_token(named, registry.not_before(client))


def _with_user(party: Party, named: TokenOfUser, live: LiveSubject) -> Party:
    return msgspec.structs.replace(
        party,
        user_id=named.user_id,
        family_id=named.family_id,
        session_id=live.session_id,
        organization_id=live.organization_id,
        directory_version=live.directory_version,
        is_admin=live.is_admin,
    )


async def _external(token: str, presenter: Client) -> Party | Refused:
    """A token of a trusted issuer allows what the rule of the issuer says. If it names scopes or resource servers, it
    allows no others. Nothing is known of a sign-in here.
    """
    try:
        verified = await verify_external(token, Purpose.TOKEN_EXCHANGE, presenter)
        scope, resource = verified.scope, verified.resource
    except UntrustedTokenError as error:
        return error.refused
    user_id, allowed = verified.user_id, frozenset(verified.issuer.scope.split())
    family_id = ids.uuid7()
    claims: dict[str, Any] = {"jti": family_jti(family_id), "aud": presenter.client_id, "acr": NO_SIGN_IN, "amr": []}
    claims |= {name: verified.claims[name] for name in ("exp", "may_act") if name in verified.claims}
    return Party(
        token_type=token_types.JWT,
        claims=claims,
        client=presenter,
        issuer_id=verified.issuer.id,
        user_id=user_id,
        family_id=family_id,
        is_admin=user_id is not None and bool(await roles_of_user(user_id)),
        scope=allowed if scope is None else allowed.intersection(scope),
        resource=resource,
    )


#: What reads a token, by its token type identifier.
READERS: dict[str, ReadToken] = {
    token_types.ACCESS_TOKEN: _access_token,
    token_types.ID_TOKEN: _id_token,
    token_types.JWT: _external,
}


async def read(client: Client, form: Parameters, name: str) -> Party:
    """Return whom the ``subject_token`` or the ``actor_token`` of a client names.

    Raises:
        InvalidRequestError: it is missing, of an unsupported type, or not valid.
    """
    token, kind = form.get(name), form.get(f"{name}_type")
    if token is None or kind is None:
        raise InvalidRequestError(f"{name} and {name}_type are both needed.")
    if kind not in READERS:
        raise InvalidRequestError(f"{name}_type must be {' or '.join(READERS)}.")
    party = await READERS[kind](token, client)
    if isinstance(party, Refused):
        raise InvalidRequestError(f"The {name} is not valid, has expired or was revoked.", refused=party)
    return party
