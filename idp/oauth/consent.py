"""Consent: the page that asks for it, and the consents that users have given."""

from datetime import datetime
from hashlib import sha256
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath

from idp.accounts.repository.users import user_by_id
from idp.accounts.tables import User
from idp.audit.events import record
from idp.branding.models import Brand
from idp.branding.registry import brands
from idp.directory.branding import brand_named, brand_of
from idp.directory.models import OrganizationMembership
from idp.errors import PageError
from idp.http import forms
from idp.http.access import Access
from idp.http.pages import navigate, page, see_other
from idp.infra.db.engine import transaction
from idp.infra.i18n import gettext as _
from idp.oauth.authorize import organization_decision, pending_request, polled
from idp.oauth.authorize.client import find_client
from idp.oauth.authorize.pending_request import PendingRequest
from idp.oauth.authorize.request import AuthorizationRequest, ClaimsRequest, within_registration
from idp.oauth.ciba import repository as backchannel
from idp.oauth.clients import redirects
from idp.oauth.clients.documents import service as documents
from idp.oauth.clients.documents.identifiers import is_document_url, shown_name
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.consent_changes import document_facts, documents_hash, shown_metadata
from idp.oauth.consent_grant import ConsentedScope, ConsentGrant, at_resources
from idp.oauth.consent_words import in_words
from idp.oauth.details.granted import from_json, must_ask, to_json, unique
from idp.oauth.details.models import Details
from idp.oauth.device import repository as device_authorizations
from idp.oauth.repository import consents, families
from idp.oauth.repository.consents import AuthorizedClient, StoredConsent
from idp.oauth.scopes import SCOPE_OF_CLAIM, visible_claims
from idp.signin import flow as flows
from idp.signin import sessions
from idp.signin.csrf import check_form_token, form_token
from idp.signin.flow import Display, Occasion
from idp.signin.http import browser_of, current_session, key_cookies, new_flow_key
from idp.signin.sessions import SignedIn
from idp.trace import recorder

AnyRequest = Request[Any, Any, Any]


def display(client: Client) -> Display:
    """Return what pages show of a client.

    The logo of a client by document is one that we have, and its home page may be anywhere.
    """
    return Display(
        client_name=shown_name(client.client_id, client.client_name),
        client_uri=None if client.origin == "document" else client.client_uri,
        logo_uri=client.logo_uri,
        policy_uri=client.policy_uri,
        tos_uri=client.tos_uri,
        upstreams=client.upstreams,
        brand=brands.brand(client.client_id),
    )


async def display_of_request(
    asked: AuthorizationRequest, client: Client, membership: OrganizationMembership | None = None
) -> Display:
    """Return what the pages and mails of a sign-in show of the client and its request.

    The branding is that of the organization that the user signs in for or, before that is known, of the one that the
    request names.
    """
    if membership is not None:
        brand = await brand_of(membership.id, client.client_id)
    else:
        brand = await brand_named(asked.organization, client.client_id)
    return msgspec.structs.replace(
        display(client), ui_locales=asked.ui_locales, organization_named=asked.organization, brand=brand
    )


async def is_needed(
    asked: AuthorizationRequest, client: Client, session: SignedIn, pending: PendingRequest | None
) -> bool:
    """Return whether the user must be asked (OpenID Connect Core section 3.1.2.4).

    A first-party client may skip consent, but ``prompt=consent`` always asks.
    """
    needed, why = await _is_needed(asked, client, session, pending)
    recorder.step("consent_needed" if needed else "consent_not_needed", why=why)
    return needed


async def _is_needed(
    asked: AuthorizationRequest, client: Client, session: SignedIn, pending: PendingRequest | None
) -> tuple[bool, str]:
    """Return whether the user must be asked, and why."""
    consented_now = pending is not None and pending.consented_by == session.user_id
    if "consent" in asked.prompt and not consented_now:
        return True, "prompt=consent"
    if client.skip_consent:
        return False, "the client skips consent"
    if any(map(must_ask, asked.authorization_details)) and not consented_now:
        return True, "a type of authorization details asks each time"
    stored = await consents.find_consent(session.user_id, client.client_id, documents_hash(client))
    if stored is None:
        return True, "no consent is stored for this client and its present terms"
    granted = ConsentGrant.read(stored.pairs, stored.claims, stored.authorization_details)
    if not granted.covers(ConsentGrant.needed(asked)):
        return True, "the request asks for more than the stored consent"
    return False, "given for this request" if consented_now else "a stored consent covers the request"


class _ConsentRequest(NamedTuple):
    """A pending request, its client, and the session of the user who is asked."""

    pending: PendingRequest
    client: Client
    session: SignedIn


async def _load(request: AnyRequest, request_id: str) -> _ConsentRequest | Response[Any]:
    """Return the consent request, or a redirect to the authorization request if the user is no longer signed in."""
    pending = await pending_request.load(browser_of(request), request_id)
    client = await find_client(pending.asked.client_id)
    session = await current_session(request)
    if client is None or session is None:
        return navigate(pending_request.path(pending))
    recorder.about(user_id=session.user_id, session_id=session.id)
    sessions.guard_changes(session)
    asked = within_registration(pending.asked, client)
    return _ConsentRequest(msgspec.structs.replace(pending, asked=asked), client, session)


def _to_store(asked: AuthorizationRequest) -> StoredConsent:
    """Return the consent that a request needs."""
    grant = ConsentGrant.needed(asked)
    return StoredConsent(sorted(map(str, grant.scopes)), sorted(grant.claims), to_json(grant.details))


def form_purpose(asked: AuthorizationRequest, client: Client, session: SignedIn) -> str:
    """Binds the form to the user, to the documents and to the grant that it shows. It is refused after another user
    signs in in another tab, after the client's terms change, and after a change of what the client may request: the
    grant is what remains of the request within the registration, and it can become larger again.
    """
    shown = sha256(msgspec.json.encode(_to_store(asked))).hexdigest()
    return f"consent {session.user_id} {documents_hash(client).hex()} {shown}"


def shown(asked: AuthorizationRequest, client: Client, user: User) -> dict[str, Any]:
    """Return the values of the page for what a client asks: who it is, and what it would be able to do."""
    return {
        "client": display(client),
        "unchecked": client.origin == "dynamic",
        "site": urlsplit(client.client_uri).netloc if client.origin == "admin" and client.client_uri else "",
        **in_words(asked, client, user),
    }


@get("/consent/{request_id:str}", opt={"access": Access.PAGE})
async def show_consent(request: AnyRequest, request_id: FromPath[str]) -> Response[Any]:
    """Show the consent page."""
    asking = await _load(request, request_id)
    if isinstance(asking, Response):
        return asking
    pending, client, session = asking
    asked, user = pending.asked, await user_by_id(session.user_id)
    assert user is not None  # noqa: S101 -- a session is deleted with its user
    values = shown(asked, client, user)
    values["client"] = msgspec.structs.replace(values["client"], brand=await _brand(pending, client, session))
    return page(
        "consent.html",
        action=f"/consent/{request_id}",
        csrf_token=form_token(pending.binding.secret, form_purpose(asked, client, session)),
        document=await document_facts(client, session.user_id, asked.redirect_uri),
        claimed_name=client.client_name,
        user=user,
        destination=_destination(asked),
        **values,
    )


async def _brand(pending: PendingRequest, client: Client, session: SignedIn) -> Brand:
    """Return what the page shows: of the organization that the user signs in for, and of the client."""
    chosen = organization_decision.chosen_by(session.user_id, pending)
    decided = await organization_decision.decided(pending.asked, client, session.user_id, chosen)
    membership = decided.membership if decided is not None else None
    return await brand_of(membership.id if membership is not None else None, client.client_id)


def _destination(asked: AuthorizationRequest) -> str:
    """Return a sentence that tells who gets the access."""
    if asked.polled is not None:
        return polled.GRANTS[asked.polled.grant_type].destination()
    return redirects.destination(asked.redirect_uri)


@post("/consent/{request_id:str}", opt={"access": Access.PAGE})
async def decide_consent(request: AnyRequest, request_id: FromPath[str]) -> Response[Any]:
    """Handle the user's decision and go back to the authorization request."""
    asking = await _load(request, request_id)
    if isinstance(asking, Response):
        return asking
    pending, client, session = asking
    form = await forms.form(request)
    check_form_token(form, pending.binding.secret, form_purpose(pending.asked, client, session))
    match form.get("action"):
        case "allow":
            await _save(pending, client, session)
            recorder.step("consent_given", scope=pending.asked.scope)
            return navigate(pending_request.path(pending))
        case "deny":
            await record("consent", outcome="denied", user_id=session.user_id, client_id=client.client_id)
            recorder.step("consent_denied")
            return navigate(f"{pending_request.path(pending)}/cancel")
        case "switch":
            return await sign_in_as_another(request, pending, client)
    raise PageError(_("Please choose"), _("Allow or deny the request."), status=HTTPStatus.BAD_REQUEST)


async def sign_in_as_another(request: AnyRequest, pending: PendingRequest, client: Client) -> Response[Any]:
    """Redirect to a sign-in with another account, which returns to the request."""
    key = await new_flow_key(request)
    binding = await flows.start(
        key,
        pending_request.path(pending),
        cancel_to=f"{pending_request.path(pending)}/cancel",
        display=await display_of_request(pending.asked, client),
        max_age=pending.asked.max_proof_age,
        occasion=Occasion.SWITCH,
    )
    return see_other(flows.path(binding), key_cookies(key))


async def _save(pending: PendingRequest, client: Client, session: SignedIn) -> None:
    asked = pending.asked
    if client.origin == "document":
        # A transaction of its own, because the changes of clients wait for each other.
        await documents.store(client, session.user_id)
    async with transaction():
        await pending_request.mark_consented(pending, session.user_id)
        await save(asked, client, session)


async def save(asked: AuthorizationRequest, client: Client, session: SignedIn) -> None:
    """Store the consent of the user of a session to a request, in the caller's transaction."""
    await consents.save_consent(
        session.user_id, client.client_id, _to_store(asked), documents_hash(client), shown_metadata(client)
    )
    await record(
        "consent",
        user_id=session.user_id,
        client_id=client.client_id,
        session_id=session.id,
        detail={
            "scope": " ".join(asked.scope),
            "resource": " ".join(asked.resource),
            "claims": " ".join(asked.claims_by_name),
            "authorization_details": " ".join(detail["type"] for detail in asked.authorization_details),
        },
    )


class AuthorizedApplication(msgspec.Struct, frozen=True, kw_only=True):
    """An application with a consent or a live token of a user."""

    client_id: str
    client_name: str
    client_uri: str | None
    logo_uri: str | None
    grants: list[ConsentedScope]
    claims: list[str]
    details: Details
    granted_at: datetime
    last_used_at: datetime | None


async def authorized_applications(user_id: UUID) -> list[AuthorizedApplication]:
    """Return the applications with a consent or a live token of a user, by name."""
    found: dict[str, AuthorizedApplication] = {}
    for row in await consents.authorized_clients(user_id):
        grants, claims = _granted(row)
        details = from_json(row.authorization_details)
        before = found.get(row.client_id)
        if before is not None:
            grants, claims = {*before.grants, *grants}, {*before.claims, *claims}
            details = unique((*before.details, *details))
        found[row.client_id] = AuthorizedApplication(
            client_id=row.client_id,
            client_name=shown_name(row.client_id, row.client_name),
            client_uri=None if is_document_url(row.client_id) else row.client_uri,
            logo_uri=row.logo_uri,
            grants=sorted(grants, key=str),
            claims=sorted(claims),
            details=details,
            granted_at=before.granted_at if before else row.granted_at,
            last_used_at=row.last_used_at,
        )
    return list(found.values())


def _granted(row: AuthorizedClient) -> tuple[set[ConsentedScope], set[str]]:
    """Return the scopes and claims of a consent, or else of tokens."""
    if row.scope is None:
        grant = ConsentGrant.read(row.pairs or (), row.claims or ())
        return set(grant.scopes), set(grant.claims)
    scopes = row.scope.split()
    requested = ClaimsRequest.from_json(row.requested)
    client = registry.client(row.client_id)
    names = visible_claims((*requested.userinfo, *requested.id_token), client.scopes if client else ())
    return set(at_resources(scopes, row.resource or ())), {name for name in names if SCOPE_OF_CLAIM[name] not in scopes}


async def withdraw(user_id: UUID, client_id: str) -> None:
    """Withdraw a consent and revoke what was issued under it."""
    async with transaction():
        await families.consume_codes_of_consent(user_id, client_id)
        await device_authorizations.cancel_of_consent(user_id, client_id)
        await backchannel.cancel_of_consent(user_id, client_id)
        revoked = await families.revoke_families_of_consent(user_id, client_id, "consent_withdrawn")
        if await consents.delete_consent(user_id, client_id) or revoked:
            await record("consent_withdrawn", user_id=user_id, client_id=client_id)


ROUTES = [show_consent, decide_consent]
