"""The authorization endpoint: validate the request, find the session, ask for consent, issue a code."""

from datetime import timedelta
from typing import Any

from litestar import HttpMethod, Request, Response, get, route
from litestar.params import FromPath

from idp.accounts.attributes import service as attributes
from idp.accounts.attributes.registry import attributes as declared
from idp.directory.models import OrganizationMembership
from idp.errors import InvalidRequestError, OAuthError, PageError
from idp.federation.providers.base import LEEWAY
from idp.http import cookies, forms
from idp.http.access import Access
from idp.http.middleware import ON_SUCCESS
from idp.http.pages import see_other
from idp.infra.db.engine import transaction
from idp.infra.i18n import gettext as _
from idp.oauth import consent, subjects
from idp.oauth.access_policies import page as access_page
from idp.oauth.access_policies.decision import AccessDeniedError, check_session
from idp.oauth.authorize import (
    acr,
    explain,
    legacy,
    organization_decision,
    organization_sign_in,
    pending_request,
    polled,
    pushed,
    request_object,
    upstreams,
)
from idp.oauth.authorize.checks import response_mode, validate
from idp.oauth.authorize.client import find_client
from idp.oauth.authorize.code import issue_code
from idp.oauth.authorize.pending_request import PendingRequest
from idp.oauth.authorize.request import AuthorizationRequest, check_registration, within_registration
from idp.oauth.authorize.respond import respond, respond_with_error
from idp.oauth.clients import nearest_redirect, redirects
from idp.oauth.clients.documents import service as documents
from idp.oauth.clients.dynamic import expiry
from idp.oauth.clients.models import Client
from idp.oauth.logout.session_management import BrowserState, browser_state
from idp.oauth.parameters import Parameters
from idp.oauth.response_types import CODE
from idp.oauth.token.families import lock_sign_ins
from idp.reasons import Reason
from idp.signin import flow as flows
from idp.signin import limits
from idp.signin.flow import Occasion
from idp.signin.http import browser_of, current_session, key_cookies, new_flow_key
from idp.signin.sessions import SignedIn
from idp.signin.transitions import Step
from idp.trace import recorder

AnyRequest = Request[Any, Any, Any]


async def _validated_client(parameters: Parameters) -> Client:
    """Return the client. Until it and its redirect URI are validated, no browser is redirected.

    Raises:
        PageError: shown to the user (RFC 6749 section 4.1.2.1).
    """
    title = _("This application sent a request that we cannot answer")
    if "client_id" not in parameters:
        raise PageError(
            title,
            _("The application did not say which one it is."),
            code="invalid_request",
            hint="client_id is missing.",
            reason=Reason.UNKNOWN_CLIENT,
        )
    client = await find_client(parameters["client_id"])
    if client is None:
        raise PageError(
            title,
            _("The application is not registered here, or was disabled."),
            code="invalid_client",
            hint="client_id names no client that is registered and enabled.",
            reason=Reason.UNKNOWN_CLIENT,
        )
    return client


def _validated_redirect_uri(parameters: Parameters, client: Client) -> str:
    """Return the redirect URI.

    Raises:
        PageError: shown to the user (RFC 6749 section 4.1.2.1).
    """
    title = _("This application sent a request that we cannot answer")
    redirect_uri = parameters.get("redirect_uri")
    if redirect_uri is None:
        raise PageError(
            title,
            _("The application did not say where to send you afterwards."),
            code="invalid_request",
            hint=f"redirect_uri is missing in a request of {client.client_id}.",
        )
    if not redirects.matches(client, redirect_uri):
        explain.redirect_uri_mismatch(client, redirect_uri)
        raise PageError(
            title,
            _("The application asked to send you to an address that is not registered for it."),
            code="invalid_request",
            hint=f"redirect_uri is none of those that {client.client_id} registered. They are compared exactly.",
            facts=nearest_redirect.in_facts(redirect_uri, client.redirect_uris),
            reason=Reason.WRONG_REDIRECT_URI,
        )
    return redirect_uri


@route(
    "/authorize",
    http_method=[HttpMethod.GET, HttpMethod.POST],
    opt={"access": Access.ENTRY, "quiet": ON_SUCCESS},
)
async def authorize(request: AnyRequest) -> Response[Any]:
    """Handle an authorization request (OpenID Connect Core section 3.1.2.1)."""
    parameters = forms.query(request) if request.method == HttpMethod.GET else await forms.form(request)
    is_pushed = pushed.is_named(parameters)
    if not is_pushed:
        explain.requested(parameters, "query" if request.method == HttpMethod.GET else "form")
    client = await _validated_client(parameters)
    recorder.about(client_id=client.client_id)
    if is_pushed:
        return await _begin(request, await pushed.load(parameters, client))
    try:
        if pushed.is_required(client):
            raise InvalidRequestError("The request must be pushed first, as in RFC 9126.")
        if "request_uri" in parameters:
            # Each is a call to another server.
            await limits.count_flow(browser_of(request))
        inside = await request_object.resolve(parameters, client)
        if "request" in parameters or "request_uri" in parameters:
            explain.requested(inside, "request object")
    except OAuthError as error:
        if not redirects.matches(client, parameters.get("redirect_uri", "")):
            raise
        return await _refuse_unstored(parameters["redirect_uri"], parameters, error, client)
    redirect_uri = _validated_redirect_uri(inside, client)
    try:
        asked = validate(inside, client, redirect_uri)
    except OAuthError as error:
        return await _refuse_unstored(redirect_uri, inside, error, client)
    explain.left_out(inside, asked)
    return await _begin(request, asked)


async def _refuse_unstored(
    redirect_uri: str, parameters: Parameters, error: OAuthError, client: Client
) -> Response[Any]:
    return await respond_with_error(client, redirect_uri, response_mode(parameters), error, parameters.get("state"))


async def _begin(request: AnyRequest, asked: AuthorizationRequest) -> Response[Any]:
    if request.method == HttpMethod.POST:
        # A cross-site POST has no SameSite cookies; the GET after the redirect has them.
        await limits.count_flow(browser_of(request))
        return see_other(await pending_request.store_unclaimed(asked))
    return await _proceed(request, asked, None)


@get("/authorize/{request_id:str}", opt={"access": Access.PAGE})
async def resume(request: AnyRequest, request_id: FromPath[str]) -> Response[Any]:
    """Continue a pending request after a sign-in, after consent, or with the GET after a POST."""
    key = browser_of(request).key()
    if (claimed := await pending_request.claim(key, request_id)) is not None:
        return see_other(claimed, key_cookies(key))
    pending = await pending_request.load(browser_of(request), request_id)
    return await _proceed(request, pending.asked, pending)


@get("/authorize/{request_id:str}/cancel", opt={"access": Access.PAGE})
async def cancel(request: AnyRequest, request_id: FromPath[str]) -> Response[Any]:
    """Refuse the request: the user cancelled the sign-in, or may not use the client."""
    pending = await pending_request.load(browser_of(request), request_id)
    client = await _still_registered(pending.asked)
    session = await current_session(request)
    error = await access_page.reason_to_cancel(client, session)
    return await _refuse(pending.asked, client, pending, error, session)


async def _still_registered(asked: AuthorizationRequest) -> Client:
    """Return the client of a request that may have been pending.

    Raises:
        PageError: it was disabled, or its redirect URI or grant was removed, so it gets no response.
    """
    client = await find_client(asked.client_id)
    if client is None or not _may_answer(asked, client):
        raise PageError(
            _("This application was disabled"), _("You can no longer sign in to it."), code="invalid_client"
        )
    return client


def _may_answer(asked: AuthorizationRequest, client: Client) -> bool:
    """Return whether there may still be a response where the request wants it."""
    if asked.polled is not None:
        return polled.may_still(asked.polled, client)
    return redirects.matches(client, asked.redirect_uri)


async def _proceed(request: AnyRequest, asked: AuthorizationRequest, pending: PendingRequest | None) -> Response[Any]:
    """Issue a code, or redirect the browser to the sign-in or the consent page."""
    client = await _still_registered(asked)
    asked = within_registration(asked, client)
    session = await current_session(request)
    await explain.session_of(cookies.read(request, cookies.SESSION), session)
    state = browser_state(request, session) if "openid" in asked.scope else None
    try:
        check_registration(asked, client)
        wanted = acr.requested(asked, client)
        if session is None or not _satisfies_request(asked, client, session, pending):
            return await _send_to_login(request, asked, client, wanted, pending)
        silent = "none" in asked.prompt
        if not silent:
            # Nobody is asked for a second factor, or for consent, to what they may not use.
            await check_session(client, session, "authorization")
        if not _satisfies_acr(asked, wanted, session, pending):
            return await _send_to_login(request, asked, client, wanted, pending, step_up=session)
        if silent:
            # Any site can have a browser send this. What follows depends on groups and organizations of the user.
            if await consent.is_needed(asked, client, session, pending):
                return await _send_to_consent(request, asked, pending)
            await check_session(client, session, "authorization")
        decided = await organization_decision.decided(
            asked, client, session.user_id, organization_decision.chosen_by(session.user_id, pending)
        )
        if decided is None or not organization_sign_in.is_sufficient(decided, session):
            recorder.step("organization_needed")
            return await organization_sign_in.ask(request, asked, client, session, decided=decided, pending=pending)
        if await attributes.missing(session.user_id, declared.required_for(client.client_id)):
            return await _send_for_attributes(
                request, asked, client, pending, session=session, membership=decided.membership
            )
        if not silent and await consent.is_needed(asked, client, session, pending):
            return await _send_to_consent(request, asked, pending)
        return await _grant(decided.asked, client, session, pending, state)
    except AccessDeniedError as error:
        recorder.step("access_denied", condition=error.refused.reason)
        if "none" not in asked.prompt:
            return await access_page.send_to(request, asked, pending, error)
        return await _refuse(asked, client, pending, error, session, state=state)
    except OAuthError as error:
        return await _refuse(asked, client, pending, error, session, state=state)


def _satisfies_acr(
    asked: AuthorizationRequest, wanted: acr.AcrRequest, session: SignedIn, pending: PendingRequest | None
) -> bool:
    """Return whether this session satisfies the requested acr.

    Raises:
        OAuthError: it does not, and ``prompt`` is ``none``.
    """
    if not acr.reaches(session.acr, wanted.essential):
        if "none" in asked.prompt:
            raise OAuthError("interaction_required", "The user must show a further factor.")
        explain.acr_not_reached(session, wanted)
        return False
    offered = "none" in asked.prompt or _is_sign_in_for(pending, session)
    if offered or acr.reaches(session.acr, wanted.voluntary):
        return True
    explain.acr_not_reached(session, wanted)
    return False


def _is_sign_in_for(pending: PendingRequest | None, session: SignedIn) -> bool:
    return pending is not None and session.auth_time >= pending.created_at


def _satisfies_request(
    asked: AuthorizationRequest, client: Client, session: SignedIn, pending: PendingRequest | None
) -> bool:
    """Return whether this session satisfies ``prompt``, ``max_age`` and the required subject.

    Raises:
        OAuthError: another user has signed in for this request.
    """
    just_signed_in = _is_sign_in_for(pending, session)
    if asked.subject is not None and asked.subject != subjects.subject(client, session.user_id):
        if just_signed_in:
            raise OAuthError("login_required", "Another user signed in than the one asked for.")
        explain.not_enough("the request names another user", asked, session)
        return False
    oldest = asked.max_proof_age
    if just_signed_in and pending is not None:
        # This may be a sign-in in another tab, and its proof may be older: the authentication at an upstream.
        since = timedelta(seconds=oldest + LEEWAY) if oldest is not None else None
        recent = since is None or session.proved_since(pending.created_at - since)
    elif asked.prompt & {"login", "select_account", "create"}:
        explain.not_enough("prompt asks for a new sign-in", asked, session)
        return False
    else:
        recent = oldest is None or session.age() <= oldest
    if not recent:
        explain.not_enough("the sign-in is older than max_age", asked, session)
    return recent


async def _send_to_login(
    request: AnyRequest,
    asked: AuthorizationRequest,
    client: Client,
    wanted: acr.AcrRequest,
    pending: PendingRequest | None,
    *,
    step_up: SignedIn | None = None,
) -> Response[Any]:
    if "none" in asked.prompt:
        raise OAuthError("login_required", "The user must sign in.")
    key = await new_flow_key(request)
    pending = pending or await pending_request.store(key, asked)
    binding = await flows.start(
        key,
        pending_request.path(pending),
        cancel_to=f"{pending_request.path(pending)}/cancel",
        login_hint=asked.login_hint,
        display=await consent.display_of_request(asked, client),
        acr=wanted.acr,
        required=wanted.essential,
        max_age=asked.max_proof_age,
        step_up=step_up,
        attributes=declared.required_for(client.client_id),
        occasion=Occasion.SWITCH if "select_account" in asked.prompt else None,
    )
    path = flows.path(binding)
    upstream = asked.idp_hint if step_up is None and asked.idp_hint in upstreams.offered(asked, client) else None
    recorder.step(
        "sign_in_needed",
        acr=wanted.acr,
        required_acr=wanted.essential,
        max_age=asked.max_proof_age,
        step_up=step_up is not None,
        upstream=upstream,
    )
    if upstream is not None:
        path += f"/to/{upstream}"
    elif step_up is None and "create" in asked.prompt:
        path += f"/{Step.REGISTRATION}"
    return see_other(path, key_cookies(key))


async def _send_for_attributes(
    request: AnyRequest,
    asked: AuthorizationRequest,
    client: Client,
    pending: PendingRequest | None,
    *,
    session: SignedIn,
    membership: OrganizationMembership | None,
) -> Response[Any]:
    """Redirect the browser to a sign-in that only asks for attributes, because the session is sufficient."""
    if "none" in asked.prompt:
        raise OAuthError("interaction_required", "The user must enter something that the client requires.")
    with recorder.explanation:
        recorder.step("attributes_needed", attributes=sorted(declared.required_for(client.client_id)))
    key = await new_flow_key(request)
    pending = pending or await pending_request.store(key, asked)
    binding = await flows.start(
        key,
        pending_request.path(pending),
        cancel_to=f"{pending_request.path(pending)}/cancel",
        display=await consent.display_of_request(asked, client, membership),
        step_up=session,
        attributes=declared.required_for(client.client_id),
    )
    return see_other(flows.path(binding), key_cookies(key))


async def _send_to_consent(
    request: AnyRequest, asked: AuthorizationRequest, pending: PendingRequest | None
) -> Response[Any]:
    if "none" in asked.prompt:
        raise OAuthError("consent_required", "The user must consent.")
    if pending is not None:
        return see_other(f"/consent/{pending.binding.id}")
    key = await new_flow_key(request)
    pending = await pending_request.store(key, asked)
    return see_other(f"/consent/{pending.binding.id}", key_cookies(key))


async def _refuse(
    asked: AuthorizationRequest,
    client: Client,
    pending: PendingRequest | None,
    error: OAuthError,
    session: SignedIn | None,
    *,
    state: BrowserState | None = None,
) -> Response[Any]:
    if asked.polled is not None:
        grant = polled.GRANTS[asked.polled.grant_type]
        async with transaction():
            await _finish(pending)
            await grant.deny(asked, session)
        return see_other(grant.denied)
    if pending is not None or asked.pushed is not None:
        async with transaction():
            await _finish(pending)
            await pushed.use(asked)
    return await respond_with_error(
        client, asked.redirect_uri, asked.response_mode, error, asked.state, browser_state=state
    )


async def _finish(pending: PendingRequest | None) -> None:
    """Mark a pending request as answered, so that it has no second response."""
    if pending is not None:
        await pending_request.finish(pending)


async def _grant(
    asked: AuthorizationRequest,
    client: Client,
    session: SignedIn,
    pending: PendingRequest | None,
    state: BrowserState | None,
) -> Response[Any]:
    """Finish the request with a code, with tokens, or with what the client polls for."""
    if asked.organization_id is not None:
        recorder.step("organization_decided", organization_id=asked.organization_id)
    if client.origin == "document":
        await documents.keep(client)
    elif client.unused:
        await expiry.keep(client, session.user_id)
    if asked.polled is not None:
        polled_grant = polled.GRANTS[asked.polled.grant_type]
        async with transaction():
            await _finish(pending)
            await polled_grant.approve(asked, client, session)
        recorder.step("approved", grant_type=asked.polled.grant_type)
        return see_other(polled_grant.approved)
    if asked.response_type != CODE:
        parameters = await _grant_tokens(asked, client, session, pending)
    elif pending is None:
        # One statement, which concurrent requests share.
        parameters = {"code": await issue_code(asked, client, session)}
    else:
        async with transaction():
            await _finish(pending)
            parameters = {"code": await issue_code(asked, client, session)}
    return await respond(client, asked.redirect_uri, asked.response_mode, parameters, asked.state, browser_state=state)


async def _grant_tokens(
    asked: AuthorizationRequest, client: Client, session: SignedIn, pending: PendingRequest | None
) -> dict[str, str]:
    """Finish a request of the implicit or the hybrid flow. Returns the parameters of the response."""
    added = await legacy.ask_hook(asked, client, session)
    # Since the first check the user may have lost what the policy of the client demands.
    await check_session(client, session, "authorization")
    async with transaction():
        await lock_sign_ins(client, session.user_id)
        await _finish(pending)
        if CODE in asked.response_type.split():
            code = await issue_code(asked, client, session)
        else:
            code = None
            await pushed.use(asked)
        grant = await legacy.start(asked, client, session)
    parameters = {"code": code} if code is not None else {}
    return parameters | await legacy.tokens(asked, client, grant, code, added)


ROUTES = [authorize, resume, cancel]
