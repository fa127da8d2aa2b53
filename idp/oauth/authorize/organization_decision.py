"""Deciding which organization a user signs in for: named by the request, chosen on a page, or the only one."""

from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID

import msgspec

from idp.directory import effective
from idp.directory.models import OrganizationMembership
from idp.errors import OAuthError
from idp.oauth.access_policies.decision import possible_organizations
from idp.oauth.authorize.code import not_member
from idp.oauth.authorize.pending_request import PendingRequest
from idp.oauth.authorize.request import AuthorizationRequest
from idp.oauth.claims.rules import rules_of
from idp.oauth.claims.sources import Organization
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.scopes import ORGANIZATION


def is_wanted(asked: AuthorizationRequest, client: Client) -> bool:
    """Return whether tokens may name an organization."""
    if ORGANIZATION in asked.claims_by_name:
        return True
    rules = rules_of(client, asked.scope)
    return any(
        isinstance(rule.source, Organization) and (rule.scope is None or rule.scope in asked.scope) for rule in rules
    )


class Decided(NamedTuple):
    """A request with the organization that the user signs in for, and the membership there; None: there is none."""

    asked: AuthorizationRequest
    membership: OrganizationMembership | None = None


async def decided(asked: AuthorizationRequest, client: Client, user_id: UUID, chosen: UUID | None) -> Decided | None:
    """Return the request with the organization that the user signs in for: the one that the request names, the one that
    the user chose, or the only one. Without any, there is none.

    Returns None if the user must choose, or is not a member of the one that is named or was chosen.

    Raises:
        OAuthError: ``interaction_required``.
    """
    if not is_wanted(asked, client):
        if asked.organization is None:
            return Decided(asked)
        if "none" in asked.prompt:
            # Otherwise a client without the scope could find out who is a member of what, unseen by the user.
            raise OAuthError("interaction_required", "Without a page, organization needs the scope organization.")
    held = await _held(client, user_id)
    if asked.organization is not None:
        possible = [key for key, each in held.items() if asked.organization in (each.slug, str(key))]
    else:
        possible = [key for key in held if chosen in (None, key)]
        if not held and chosen is None:
            return Decided(asked)
    if len(possible) != 1:
        return None
    return Decided(msgspec.structs.replace(asked, organization_id=possible[0]), held[possible[0]])


async def _held(client: Client, user_id: UUID) -> Mapping[UUID, OrganizationMembership]:
    """Return the organizations of a user that the access policy of a client allows."""
    return possible_organizations(registry.access_policy(client), await effective.memberships(user_id))


async def offered(client: Client, user_id: UUID) -> list[dict[str, str]]:
    """Return the organizations that a user can choose from: id, slug and name."""
    held = (await _held(client, user_id)).values()
    return [{"id": str(each.id), "slug": each.slug, "name": each.name} for each in held]


def chosen_by(user_id: UUID, pending: PendingRequest | None) -> UUID | None:
    """Return the organization that a user chose for a pending request."""
    return pending.organization_id if pending is not None and pending.chosen_by == user_id else None


async def chosen_in(form: Mapping[str, str], user_id: UUID) -> UUID | None:
    """Return the organization of a user that a form names."""
    held = (await effective.memberships(user_id)).organizations
    return next((key for key in held if str(key) == form.get("organization")), None)


def cannot_ask(asked: AuthorizationRequest, user_id: UUID) -> OAuthError:
    """Return the error of a request with ``prompt=none`` whose organization is not decided."""
    if asked.organization is not None:
        return not_member(user_id)
    return OAuthError("interaction_required", "The user must choose an organization.")
