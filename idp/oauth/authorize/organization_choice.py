"""The organization that a user signs in for: named by the request, chosen on a page, or the only one."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath

from idp.accounts.repository.users import user_by_id
from idp.directory import effective
from idp.directory.models import OrganizationMembership
from idp.errors import OAuthError
from idp.http import forms
from idp.http.access import Access
from idp.http.pages import navigate, page, see_other
from idp.oauth import consent
from idp.oauth.access_policies.decision import possible_organizations
from idp.oauth.authorize import pending_request
from idp.oauth.authorize.client import find_client
from idp.oauth.authorize.code import not_member
from idp.oauth.authorize.pending_request import PendingRequest
from idp.oauth.authorize.request import AuthorizationRequest
from idp.oauth.claims.rules import rules_of
from idp.oauth.claims.sources import Organization
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.scopes import ORGANIZATION
from idp.signin import flow as flows
from idp.signin import sessions
from idp.signin.csrf import check_form_token, form_token
from idp.signin.http import browser_of, current_session, key_cookies, new_flow_key
from idp.signin.sessions import SignedIn

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}


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


def path(pending: PendingRequest) -> str:
    return f"{pending_request.path(pending)}/organization"


def cannot_ask(asked: AuthorizationRequest, user_id: UUID) -> OAuthError:
    """Return the error of a request with ``prompt=none`` whose organization is not decided."""
    if asked.organization is not None:
        return not_member(user_id)
    return OAuthError("interaction_required", "The user must choose an organization.")


class _Asking(NamedTuple):
    """A pending request, its client, and the session of the user who is asked."""

    pending: PendingRequest
    client: Client
    session: SignedIn

    @property
    def form_purpose(self) -> str:
        return f"organization {self.session.user_id}"


async def _load(request: AnyRequest, request_id: str) -> _Asking | Response[Any]:
    """Return the request, or a redirect to it if nobody is signed in any more."""
    pending = await pending_request.load(browser_of(request), request_id)
    client, session = await find_client(pending.asked.client_id), await current_session(request)
    if client is None or session is None:
        return navigate(pending_request.path(pending))
    sessions.guard_changes(session)
    return _Asking(pending, client, session)


@get("/authorize/{request_id:str}/organization", opt=PAGE)
async def show_organizations(request: AnyRequest, request_id: FromPath[str]) -> Response[Any]:
    """Show the organizations of the user."""
    asking = await _load(request, request_id)
    if isinstance(asking, Response):
        return asking
    pending, client, session = asking
    return page(
        "organization.html",
        action=path(pending),
        csrf_token=form_token(pending.binding.secret, asking.form_purpose),
        client=consent.display(client),
        user=await user_by_id(session.user_id),
        organizations=await offered(client, session.user_id) if pending.asked.organization is None else [],
        lost=chosen_by(session.user_id, pending) is not None,
    )


@post("/authorize/{request_id:str}/organization", opt=PAGE)
async def choose_organization(request: AnyRequest, request_id: FromPath[str]) -> Response[Any]:
    """Record the choice of the user, and go on with the request."""
    asking = await _load(request, request_id)
    if isinstance(asking, Response):
        return asking
    pending, client, session = asking
    form = await forms.form(request)
    check_form_token(form, pending.binding.secret, asking.form_purpose)
    match form.get("action"):
        case "cancel":
            return navigate(f"{pending_request.path(pending)}/cancel")
        case "switch":
            key = await new_flow_key(request)
            binding = await flows.start(
                key,
                pending_request.path(pending),
                cancel_to=f"{pending_request.path(pending)}/cancel",
                display=consent.display(client, pending.asked.ui_locales),
                max_age=pending.asked.max_proof_age,
            )
            return see_other(flows.path(binding), key_cookies(key))
    if (chosen := await chosen_in(form, session.user_id)) is None:
        return navigate(path(pending))
    await pending_request.choose_organization(pending, chosen, session.user_id)
    return navigate(pending_request.path(pending))


ROUTES = [show_organizations, choose_organization]
