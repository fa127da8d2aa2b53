"""The pages of the sign-in flow, one for each step that may follow."""

from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from litestar import Request, Response, get, post
from litestar.params import FromPath

from idp.branding.registry import brands
from idp.branding.registry import current as current_brand
from idp.errors import FlowFinishedError, PageError, TooManyRequestsError
from idp.federation.realms import realms
from idp.http import forms
from idp.http.access import Access
from idp.http.exception_handlers import slowed_down, wait_sentence
from idp.http.middleware import ON_HEAD
from idp.http.pages import navigate, page, see_other
from idp.infra.i18n import gettext as _
from idp.settings import settings
from idp.signin import flow as flows
from idp.signin import limits, onward, other_browser, service, transitions, ways
from idp.signin.csrf import form_token
from idp.signin.enforcement import EnforcedDomainError
from idp.signin.flow import Flow, Occasion
from idp.signin.http import browser_of, current_session, key_cookies, new_flow_key, result_cookies
from idp.signin.service import AUTHENTICATION_METHODS, StepNotAllowedError, StepResult
from idp.signin.steps import StepRefusedError, passkey, upstream
from idp.signin.steps.password import MAX_LENGTH
from idp.signin.transitions import State, Step

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}
STEP_PAGE = PAGE | {"quiet": ON_HEAD}
#: The last part of the path at which a forgotten password is replaced (:mod:`idp.selfservice.recovery`).
FORGOT = "forgot"


@get("/login", opt=PAGE)
async def start_login(request: AnyRequest) -> Response[Any]:
    """Sign in without an application: the user ends at the start page."""
    if await current_session(request) is not None:
        return see_other("/")
    key = await new_flow_key(request)
    return see_other(flows.path(await flows.start(key, "/")), key_cookies(key))


@get("/login/{flow_id:str}", opt=STEP_PAGE)
async def show_login(request: AnyRequest, flow_id: FromPath[str]) -> Response[Any]:
    """Return the page of the next step."""
    flow = await onward.load_or_leave(request, flow_id)
    if isinstance(flow, Response):
        return flow
    return await _show_next(request, flow)


@get("/login/{flow_id:str}/{step:str}", opt=STEP_PAGE)
async def show_step(request: AnyRequest, flow_id: FromPath[str], step: FromPath[str]) -> Response[Any]:
    """Return the page of one of the steps that may follow. A link from a mail leads to a page with a button."""
    token = forms.query(request).get("token")
    if token is not None and browser_of(request).binding(flow_id) is None:
        return await other_browser.show_code(token, other_browser.PURPOSES.get(step), flow_id)
    flow = await onward.load_or_leave(request, flow_id)
    if isinstance(flow, Response):
        return flow
    state = await service.state_of(browser_of(request), flow)
    wanted = _step(step)
    if wanted is None or wanted not in transitions.allowed(state):
        return see_other(flows.path(flow.binding))
    return await _show(request, flow, state, wanted, token=token)


@post("/login/{flow_id:str}/{step:str}", opt=PAGE)
async def take_step(request: AnyRequest, flow_id: FromPath[str], step: FromPath[str]) -> Response[Any]:
    """Take a step with the entered values, and redirect to the next step or to the target of the flow."""
    wanted = _step(step)
    service.check_load(wanted)
    asked = await onward.load_form(request, flow_id)
    if isinstance(asked, Response):
        return asked
    flow, form = asked
    if wanted is None:
        return see_other(flows.path(flow.binding))
    try:
        result = await service.take_step(browser_of(request), flow, wanted, form)
    except StepNotAllowedError:
        return see_other(flows.path(flow.binding))
    except FlowFinishedError:
        # A second click. The first one has finished or moved the flow.
        over = await onward.load(request, flow_id)
        if isinstance(over, Response):
            return over
        raise
    except StepRefusedError as error:
        flow = await keep_address(await flows.load(browser_of(request), flow_id), form)
        shown = await _show_refused(request, flow, wanted, error, form)
        if error.unavailable:
            shown.status_code = HTTPStatus.SERVICE_UNAVAILABLE
        return shown
    except TooManyRequestsError as error:
        state = await service.state_of(browser_of(request), flow)
        shown = await _show(request, flow, state, wanted, error=wait_sentence(error), entered=form)
        return slowed_down(shown, error)
    if result.session is None:
        await keep_address(result.flow, form)
    return after(flow, wanted, result)


def after(flow: Flow, step: Step, result: StepResult) -> Response[Any]:
    """Where the browser goes after a step: on, or to the same step again if there is more to do in it."""
    cookies = result_cookies(result)
    if result.recovery_codes:
        following = flow.return_to if result.session is not None else flows.path(result.flow.binding)
        return page("recovery_codes.html", cookies=cookies, codes=result.recovery_codes, next=following, scripts=True)
    if result.session is not None:
        return navigate(flow.return_to, cookies)
    path, identity = flows.path(result.flow.binding), result.flow.identity
    # An identity whose address has an account signs in to that account, in any way.
    again = result.flow.done == flow.done and not (identity is not None and identity.email_verified)
    if identity is not None and step is Step.PASSWORD:
        # A directory knows the password. The address is still to be proved.
        step = Step.UPSTREAM
    return see_other(f"{path}/{step}" if again else path, cookies)


async def show_error(request: AnyRequest, flow: Flow, error: StepRefusedError) -> Response[Any]:
    """Return the page of the next step, with an error message."""
    if isinstance(error, EnforcedDomainError) and flow.user_id is None:
        return await _show_refused(request, flow, None, error, {})
    return await _show_next(request, flow, error=str(error))


async def _show_next(request: AnyRequest, flow: Flow, *, error: str | None = None) -> Response[Any]:
    state = await service.state_of(browser_of(request), flow)
    allowed = ways.first(transitions.allowed(state), _preferred(flow))
    if not allowed and not flow.done:
        raise PageError(
            _("You cannot sign in"),
            _("None of the allowed ways to sign in is available. Ask an administrator."),
        )
    if not allowed:
        # A change in another tab removed the missing step. Only a step finishes a flow, so the target starts another
        # one.
        return see_other(flow.return_to)
    if allowed[0] is Step.PASSWORD and realms and flow.identity is None:
        return await _show(request, flow, state, None, error=error)
    return await _show(request, flow, state, allowed[0], error=error)


@post("/login/{flow_id:str}/address", opt=PAGE)
async def enter_address(request: AnyRequest, flow_id: FromPath[str]) -> Response[Any]:
    """Go on with the entered address: to the upstream of its organization, or to the page for the password."""
    asked = await onward.load_form(request, flow_id)
    if isinstance(asked, Response):
        return asked
    flow, form = asked
    state = await service.state_of(browser_of(request), flow)
    if Step.PASSWORD not in transitions.allowed(state):
        return see_other(flows.path(flow.binding))
    try:
        found = await upstream.enter_address(flow, form.get("username", ""), browser_of(request))
    except StepRefusedError as error:
        return await _show_refused(request, flow, None, error, form)
    except TooManyRequestsError as error:
        return slowed_down(await _show(request, flow, state, None, error=wait_sentence(error), entered=form), error)
    path = flows.path(flow.binding)
    if len(found) == 1:
        return navigate(f"{path}/to/{found[0].id}")
    return see_other(path if found else f"{path}/{Step.PASSWORD}")


async def _show_refused(
    request: AnyRequest, flow: Flow, step: Step | None, error: StepRefusedError, entered: dict[str, str]
) -> Response[str]:
    """Show the page of a refused step again. An address of an enforced domain leads to the upstreams instead."""
    if isinstance(error, EnforcedDomainError) and flow.user_id is None:
        step, entered, flow = None, {}, await flows.store_address(flow, error.email)
    state = await service.state_of(browser_of(request), flow)
    return await _show(request, flow, state, step, error=str(error), wrong=error.field, entered=entered)


@post("/login/{flow_id:str}", opt=PAGE)
async def leave_login(request: AnyRequest, flow_id: FromPath[str]) -> Response[Any]:
    """Return to the application without signing in."""
    asked = await onward.load_form(request, flow_id)
    if isinstance(asked, Response):
        return asked
    flow, _form = asked
    await flows.finish(flow)
    return navigate(flow.cancel_to or "/")


@post("/login/{flow_id:str}/way", opt=PAGE)
async def take_way(request: AnyRequest, flow_id: FromPath[str]) -> Response[Any]:
    """Redirect to another page of the sign-in, which knows the address that was entered here."""
    asked = await onward.load_form(request, flow_id)
    if isinstance(asked, Response):
        return asked
    flow, form = asked
    # Its domain decides what the pages offer, so it is counted like an entered address.
    with suppress(TooManyRequestsError):
        await limits.count_step(browser_of(request))
        await keep_address(flow, form)
    way, path = form.get("way", ""), flows.path(flow.binding)
    return see_other(f"{path}/{way}" if way == FORGOT or _step(way) is not None else path)


async def keep_address(flow: Flow, form: Mapping[str, str]) -> Flow:
    """Store the address that was entered before the user is known, so that the next page shows it."""
    if flow.user_id is not None or flow.identity is not None or "username" not in form:
        return flow
    entered = "".join(filter(str.isprintable, form["username"][:MAX_LENGTH])).strip()
    return await flows.store_address(flow, entered) if entered != flow.login_hint else flow


def _preferred(flow: Flow) -> tuple[Step, ...]:
    """Return the ways that the brand offers first, while the user is not known."""
    brand = current_brand.get() or brands.brand()
    return tuple(Step(way) for way in brand.ways) if flow.user_id is None else ()


def _step(text: str) -> Step | None:
    return Step(text) if text in set(Step) else None


async def _show(
    request: AnyRequest,
    flow: Flow,
    state: State,
    step: Step | None,
    *,
    error: str | None = None,
    wrong: str = "",
    entered: dict[str, str] | None = None,
    token: str | None = None,
) -> Response[str]:
    """Render a page of the flow. Entered values are shown again, except secrets.

    Args:
        step: None: the page that asks for the address only, because it may lead to an upstream.
        wrong: the name of the field with the error.
    """
    allowed, preferred = transitions.allowed(state), _preferred(flow)
    entered = entered or {}
    context = await AUTHENTICATION_METHODS[step].context(flow, entered) if step is not None else {}
    if Step.PASSKEY in allowed and step in (None, Step.PASSWORD):
        context["passkey_options"] = await passkey.options(flow)
    return page(
        f"{step or 'address'}.html",
        status=HTTPStatus.BAD_REQUEST if error else HTTPStatus.OK,
        scripts=True,
        path=flows.path(flow.binding),
        csrf_token=form_token(flow.binding.secret, onward.FORM),
        client=flow.display,
        username=entered.get("username", (flow.identity and flow.identity.email) or flow.login_hint),
        upstreams=upstream.available(flow) if Step.UPSTREAM in allowed else [],
        directories=upstream.directories(flow),
        not_fresh=[one.name for one in upstream.not_fresh(flow)],
        linking=flow.identity if flow.identity and flow.identity.email_verified else None,
        name=entered.get("name", ""),
        error=error,
        wrong=wrong,
        token=token,
        cancel=flow.cancel_to is not None,
        mails=settings().sends_mail,
        order=ways.ordered(allowed, preferred),
        others=ways.ordered((other for other in allowed if other is not step), preferred),
        may_trust=settings().trusted_device_lifetime > 0 and step in transitions.SECOND and flow.user_id is not None,
        reauthenticate=flow.user_id is None and flow.occasion is None and await current_session(request) is not None,
        created=flow.occasion is Occasion.CREATED and flow.user_id is None,
        **context,
    )


ROUTES = [start_login, show_login, show_step, enter_address, take_way, take_step, leave_login]
