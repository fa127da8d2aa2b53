"""Which policy allows an exchange, and with which scopes.

A request must fit one policy as a whole. The rules narrow the policies of the client down, in order; the one that
leaves none decides the error (RFC 8693 section 2.2.2). Of those that are left the first one counts.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from idp.errors import InvalidRequestError, InvalidScopeError, InvalidTargetError, OAuthError, Refused
from idp.oauth.binding.confirmation import Confirmation
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.exchange.models import ExchangePolicy
from idp.oauth.exchange.parties import Party
from idp.oauth.exchange.token_types import ID_TOKEN, PREFIX
from idp.oauth.scopes import STANDARD_SCOPES
from idp.reasons import Reason

#: The scopes of this server that may pass through an exchange.
_OWN_SCOPES = STANDARD_SCOPES.keys() - {"offline_access"}


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """A request whose tokens are valid.

    Attributes:
        actor: whom the actor token names; None: the client acts itself.
        resource: the resource servers that the new token is for.
        scope: the requested scopes; empty: all that are allowed.
        confirmation: the key that the request proves.
    """

    client: Client
    subject: Party
    actor: Party | None
    resource: Sequence[str]
    scope: Sequence[str]
    confirmation: Confirmation | None

    @property
    def parties(self) -> tuple[Party, ...]:
        return (self.subject,) if self.actor is None else (self.subject, self.actor)


def _is_for(party: Party, client: Client) -> bool:
    """Return whether a token was issued to a client, or is for it, or for a resource server of it."""
    servers = (registry.resource_server(name) for name in party.audience)
    return (
        party.client.client_id == client.client_id
        or client.client_id in party.audience
        or any(server is not None and server.client_id == client.client_id for server in servers)
    )


def _mode(policy: ExchangePolicy, asked: Exchange) -> bool:
    return policy.mode == "delegation" or asked.actor is None


def _token_type(policy: ExchangePolicy, asked: Exchange) -> bool:
    return asked.subject.token_type.removeprefix(PREFIX) in policy.subject_token_types


def _meant_for(policy: ExchangePolicy, asked: Exchange) -> bool:
    subject = asked.subject
    return _is_for(subject, asked.client) or subject.client.client_id in policy.subject_clients


def _actor_meant_for(_policy: ExchangePolicy, asked: Exchange) -> bool:
    return asked.actor is None or _is_for(asked.actor, asked.client)


def _user(policy: ExchangePolicy, asked: Exchange) -> bool:
    return not policy.user_ids or asked.subject.user_id in policy.user_ids


def _no_administrator(policy: ExchangePolicy, asked: Exchange) -> bool:
    return policy.mode == "delegation" or not asked.subject.is_admin


def _target(policy: ExchangePolicy, asked: Exchange) -> bool:
    return set(asked.resource) <= set(policy.resources)


def _binds(client: Client) -> bool:
    return client.dpop_bound_access_tokens or client.tls_client_certificate_bound_access_tokens


def _proof(policy: ExchangePolicy, asked: Exchange) -> bool:
    """A bound token is not exchanged for one that anybody can use. The client that it was issued to has its key; a
    resource server has only a key of its own. An ID token names no key, but its client may have bound tokens only.
    """
    for party in asked.parties:
        if party.bound is None:
            bare = asked.confirmation is None and not policy.bearer_for_bound
            if bare and party.token_type == ID_TOKEN and _binds(party.client):
                return False
            continue
        if party.client.client_id == asked.client.client_id:
            if party.bound.refuses(asked.confirmation):
                return False
        elif asked.confirmation is None and not policy.bearer_for_bound:
            return False
    return True


def allowed_scopes(policy: ExchangePolicy, asked: Exchange) -> frozenset[str]:
    """Return the scopes that a policy allows: those that the token keeps and those that it gets, as far as the client
    is registered for them and they are for the resource servers.
    """
    servers = filter(None, map(registry.resource_server, asked.resource))
    there = _OWN_SCOPES.union(*(server.scopes for server in servers))
    kept = asked.subject.scope.intersection(policy.scope.split())
    return kept.union(policy.added_scope.split()) & asked.client.scopes & there


def _scope(policy: ExchangePolicy, asked: Exchange) -> bool:
    return set(asked.scope) <= allowed_scopes(policy, asked)


class _Rule(NamedTuple):
    """What a policy must fit, and the error if none does."""

    fits: Callable[[ExchangePolicy, Exchange], bool]
    error: Callable[[str, Refused], OAuthError]
    description: str
    reason: Reason


def _invalid(description: str, refused: Refused) -> OAuthError:
    return InvalidRequestError(description, refused=refused)


def _unauthorized(description: str, refused: Refused) -> OAuthError:
    return OAuthError("unauthorized_client", description, refused=refused)


def _invalid_target(description: str, _refused: Refused) -> OAuthError:
    return InvalidTargetError(description)


def _invalid_scope(description: str, _refused: Refused) -> OAuthError:
    return InvalidScopeError(description)


_NOT_ALLOWED = "This client may not exchange this subject_token."
_RULES = (
    _Rule(_mode, _unauthorized, "This client may not exchange tokens in this way.", Reason.NO_POLICY),
    _Rule(_target, _invalid_target, "This client may not exchange tokens for this target.", Reason.NO_POLICY),
    _Rule(_token_type, _invalid, "This client may not exchange tokens of this type.", Reason.WRONG_TYPE),
    _Rule(_meant_for, _invalid, _NOT_ALLOWED, Reason.WRONG_AUDIENCE),
    _Rule(_actor_meant_for, _invalid, "The actor_token is not for this client.", Reason.WRONG_AUDIENCE),
    _Rule(_user, _invalid, _NOT_ALLOWED, Reason.NO_POLICY),
    _Rule(_no_administrator, _invalid, _NOT_ALLOWED, Reason.ADMINISTRATOR),
    _Rule(_proof, _invalid, "A token that is bound to a key needs a proof of possession.", Reason.PROOF_MISSING),
    _Rule(_scope, _invalid_scope, "The scope exceeds what an exchange of this token allows.", Reason.NO_POLICY),
)


def choose(policies: Sequence[ExchangePolicy], asked: Exchange) -> ExchangePolicy:
    """Return the first policy that a request fits.

    Raises:
        OAuthError: it fits none: ``unauthorized_client``, ``invalid_request``, ``invalid_target`` or ``invalid_scope``.
    """
    subject = asked.subject
    for rule in _RULES:
        policies = [policy for policy in policies if rule.fits(policy, asked)]
        if not policies:
            refused = Refused(rule.reason, subject.user_id, subject.family_id)
            raise rule.error(rule.description, refused)
    return policies[0]
