"""Redirects to upstream providers and back: `/login/{id}/to/{id}` and `/upstreams/{id}/callback`."""

from typing import Any
from urllib.parse import urlencode

from litestar import HttpMethod, Request, Response, get, route
from litestar.params import FromPath

from idp.accounts.repository.users import user_by_id
from idp.errors import FlowExpiredError, PageError
from idp.federation import authorization_requests, linking, providers
from idp.federation.authorization_requests import StoredRequest
from idp.federation.errors import UpstreamError
from idp.federation.registry import upstreams
from idp.http import cookies, forms
from idp.http.access import Access
from idp.http.pages import see_other
from idp.infra.db.engine import transaction
from idp.infra.i18n import gettext as _
from idp.settings import settings
from idp.signin import flow as flows
from idp.signin import limits, onward, pages, service, sessions, transitions, upstream_accounts, upstream_errors
from idp.signin.csrf import check_form_token
from idp.signin.http import browser_of, current_session, key_cookies, new_flow_key
from idp.signin.service import StepNotAllowedError
from idp.signin.sessions import SignedIn
from idp.signin.steps import StepRefusedError
from idp.signin.steps import upstream as step
from idp.signin.transitions import SINGLE_FACTOR, Step
from idp.trace import recorder

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}

#: Parameters of a provider's response (RFC 6749 section 4.1.2, RFC 9207; ``user`` of Apple).
PARAMETERS = ("code", "state", "iss", "error", "user")
MAX_LENGTH = 4096


@get("/login/{flow_id:str}/to/{upstream_id:str}", opt=PAGE)
async def leave(request: AnyRequest, flow_id: FromPath[str], upstream_id: FromPath[str]) -> Response[Any]:
    """Send the user to a provider. A link, because the ``form-action`` of the page would have to name each provider."""
    flow = await onward.load_or_leave(request, flow_id)
    if isinstance(flow, Response):
        return flow
    chosen = next((known for known in step.available(flow) if known.id == upstream_id), None)
    if chosen is None or Step.UPSTREAM not in transitions.allowed(await service.state_of(browser_of(request), flow)):
        return see_other(flows.path(flow.binding))
    # Each request to a provider is a row, like each flow.
    await limits.count_flow(browser_of(request))
    attempt = await authorization_requests.create(
        chosen.id,
        flow_id=flow.binding.id,
        acr=chosen.mfa_acr if flow.acr != SINGLE_FACTOR else None,
        max_age=flow.max_age,
    )
    recorder.step("sent_to_upstream", upstream=chosen.id, max_age=flow.max_age, acr=flow.acr)
    signed_in = await current_session(request) is not None
    authorization = attempt.request._replace(login_hint=flow.login_hint, max_age=flow.max_age, select_account=signed_in)
    try:
        return see_other(await providers.KINDS[chosen.kind].authorization_url(chosen, authorization))
    except UpstreamError as error:
        await upstream_errors.record_failure(chosen, error)
        refused = StepRefusedError(upstream_errors.failure_message(error, chosen.name), reason=error.reason)
        return await pages.show_error(request, flow, refused)


@get("/account/upstreams/{upstream_id:str}/link", opt=PAGE)
async def leave_to_link(request: AnyRequest, upstream_id: FromPath[str]) -> Response[Any]:
    """Send a signed-in user to a provider, to link their identity there to their account here."""
    session = await _fresh(request)
    if session is None:
        key = await new_flow_key(request)
        lacking = await current_session(request)
        acr = await sessions.level_for_credentials(lacking) if lacking is not None else SINGLE_FACTOR
        binding = await flows.start(key, "/account/security", cancel_to="/account", max_age=0, acr=acr, required=acr)
        return see_other(flows.path(binding), key_cookies(key))
    user = await user_by_id(session.user_id)
    linkable = await upstream_accounts.linkable(user) if user is not None else []
    chosen = next((known for known in linkable if known.id == upstream_id), None)
    if chosen is None:
        return see_other("/account/security")
    # It is a link, so the token is in the URL. The token allows only this start.
    check_form_token(forms.query(request), cookies.read(request, cookies.SESSION) or "", f"link {chosen.id}")
    attempt = await authorization_requests.create(chosen.id, session_id=session.id)
    try:
        return see_other(await providers.KINDS[chosen.kind].authorization_url(chosen, attempt.request))
    except UpstreamError as error:
        await upstream_errors.record_failure(chosen, error)
        raise _not_linked(upstream_errors.failure_message(error, chosen.name)) from error


@route(
    "/upstreams/{upstream_id:str}/callback", http_method=[HttpMethod.GET, HttpMethod.POST],
    opt={"access": Access.ENTRY}, status_code=200,
)  # fmt: skip
async def come_back(request: AnyRequest, upstream_id: FromPath[str]) -> Response[Any]:
    """Handle the provider's response at our redirect URI: a code or an error."""
    if request.method == HttpMethod.POST:
        # Another site's POST arrives without our SameSite cookies; a GET carries them.
        given = _response(await forms.form(request))
        return see_other(f"/upstreams/{upstream_id}/callback?{urlencode(given)}")
    answer = _response(forms.query(request))
    attempt = await authorization_requests.find(answer.get("state", ""), upstream_id)
    if attempt is None:
        raise FlowExpiredError
    recorder.step("came_from_upstream", upstream=attempt.upstream_id, error="sent" if "error" in answer else None)
    answer |= {"upstream": upstream_id, "state": attempt.state}
    if attempt.flow_id is None:
        return await _link(request, attempt, answer)
    if browser_of(request).binding(attempt.flow_id) is None:
        raise PageError(
            _("Continue where you started"), _("This sign-in was started in another browser. Finish it there.")
        )
    return await _sign_in(request, attempt.flow_id, answer)


def _response(parameters: dict[str, str]) -> dict[str, str]:
    return {name: parameters[name][:MAX_LENGTH] for name in PARAMETERS if name in parameters}


async def _sign_in(request: AnyRequest, flow_id: str, answer: dict[str, str]) -> Response[Any]:
    flow = await onward.load(request, flow_id)
    if isinstance(flow, Response):
        return flow
    try:
        result = await service.take_step(browser_of(request), flow, Step.UPSTREAM, answer)
    except StepNotAllowedError:
        if upstreams.get(answer["upstream"]) is None:
            return await pages.show_error(request, flow, upstream_errors.gone())
        return see_other(flows.path(flow.binding))
    except StepRefusedError as error:
        return await pages.show_error(request, await flows.load(browser_of(request), flow_id), error)
    return pages.after(flow, Step.UPSTREAM, result)


async def _fresh(request: AnyRequest) -> SignedIn | None:
    """Return the session if its sign-in is recent and of the level for changes of credentials.

    Changes of the request are then refused once it is not.
    """
    session = await current_session(request)
    if session is None or session.age() > settings().reauthentication_lifetime:
        return None
    if transitions.falls_short(session.acr, await sessions.level_for_credentials(session)):
        return None
    sessions.guard_changes(session, credentials=True)
    return session


async def _link(request: AnyRequest, attempt: StoredRequest, answer: dict[str, str]) -> Response[Any]:
    session = await _fresh(request)
    if session is None or session.id != attempt.session_id:
        raise _not_linked(_("You have been signed out, or started this in another browser. Try again."))
    try:
        identity = await step.identify(answer, session_id=session.id)
    except StepRefusedError as error:
        raise _not_linked(str(error)) from error
    chosen = upstreams.get(attempt.upstream_id)
    try:
        async with transaction():
            linked = await upstream_accounts.link_to_account(session.user_id, identity)
            if linked and chosen is not None:
                await linking.notify(session.user_id, "identity_linked", chosen.name)
    except StepRefusedError as error:
        raise _not_linked(str(error)) from error
    if not linked:
        raise _not_linked(_("This account is already connected to another account here. Disconnect it there first."))
    return see_other("/account/security?done=linked")


def _not_linked(message: str) -> PageError:
    return PageError(_("The account was not connected"), message)


ROUTES = [leave, leave_to_link, come_back]
