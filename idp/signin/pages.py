"""The HTML of the sign-in flow: one page a step, shown when the machine allows it."""

from http import HTTPStatus
from typing import Any

from litestar import Request, Response, get, post
from litestar.params import FromPath

from idp.errors import PageError, TooManyRequestsError
from idp.http import forms
from idp.http.access import Access
from idp.http.exception_handlers import slowed_down, wait_sentence
from idp.http.pages import navigate, page, see_other
from idp.infra.i18n import gettext as _
from idp.settings import settings
from idp.signin import flow as flows
from idp.signin import limits, service, sessions, transitions
from idp.signin.browser import BrowserBinding
from idp.signin.csrf import check_form_token, form_token
from idp.signin.flow import Flow, FlowFinishedError
from idp.signin.service import AUTHENTICATION_METHODS, StepNotAllowedError, StepResult
from idp.signin.steps import StepRefusedError, passkey, upstream
from idp.signin.transitions import State, Step

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}
PURPOSE = "login"


@get("/login", opt=PAGE)
async def start_login(request: AnyRequest) -> Response[Any]:
    """Sign in for its own sake: the person ends at their account."""
    if await sessions.current(request) is not None:
        return see_other("/")
    key = await limits.count_flow(request)
    return see_other(flows.path(await flows.start(key, "/")), key.cookies())


@get("/login/{flow_id:str}", opt=PAGE)
async def show_login(request: AnyRequest, flow_id: FromPath[str]) -> Response[Any]:
    """The page of the step that comes next."""
    flow = await load_or_leave(request, flow_id)
    if isinstance(flow, Response):
        return flow
    return await _show_next(request, flow)


@get("/login/{flow_id:str}/{step:str}", opt=PAGE)
async def show_step(request: AnyRequest, flow_id: FromPath[str], step: FromPath[str]) -> Response[Any]:
    """The page of one of the steps that may come next; where a link from a mail leads, a page with a button."""
    token = forms.query(request).get("token")
    if token is not None and BrowserBinding.read(request, flow_id) is None:
        raise PageError(
            _("Open this link where you started"),
            _("It works only in the browser in which you asked for it. You can also type its code there."),
        )
    flow = await load_or_leave(request, flow_id)
    if isinstance(flow, Response):
        return flow
    state = await service.state_of(request, flow)
    wanted = _step(step)
    if wanted is None or wanted not in transitions.allowed(state):
        return see_other(flows.path(flow.binding))
    return await _show(request, flow, state, wanted, token=token)


async def load_or_leave(request: AnyRequest, flow_id: str) -> Flow | Response[Any]:
    """The flow; or the way to where it leads, if somebody signed in at this browser after it began.

    That was in this flow, whose page the browser shows once more, or in another tab. What waits there decides whether
    the session is good enough; if not, it begins a flow that is younger than the session. An invitation, and an account
    elsewhere that is to be connected, wait for this very flow.
    """
    try:
        flow = await flows.load(request, flow_id)
    except FlowFinishedError as error:
        if error.return_to is None or not (error.moved or await sessions.current(request) is not None):
            raise
        return see_other(error.return_to)
    if flow.identity is not None or (flow.registration is not None and flow.registration.invitation_id is not None):
        return flow
    session = await sessions.current(request)
    if session is not None and flow.created_at is not None and session.auth_time >= flow.created_at:
        return see_other(flow.return_to)
    return flow


@post("/login/{flow_id:str}/{step:str}", opt=PAGE)
async def take_step(request: AnyRequest, flow_id: FromPath[str], step: FromPath[str]) -> Response[Any]:
    """Take a step with what the person entered, and go on to the next one or to where the flow leads."""
    wanted = _step(step)
    service.check_load(wanted)
    try:
        flow = await flows.load(request, flow_id)
    except FlowFinishedError as error:
        if error.return_to is None or not error.moved:
            raise
        # A second click.
        return see_other(error.return_to)
    form = await forms.form(request)
    check_form_token(form, flow.binding.secret, PURPOSE)
    if wanted is None:
        return see_other(flows.path(flow.binding))
    try:
        taken = await service.take_step(request, flow, wanted, form)
    except StepNotAllowedError:
        return see_other(flows.path(flow.binding))
    except StepRefusedError as error:
        flow = await flows.load(request, flow_id)
        state = await service.state_of(request, flow)
        return await _show(request, flow, state, wanted, error=str(error), entered=form)
    except TooManyRequestsError as error:
        state = await service.state_of(request, flow)
        shown = await _show(request, flow, state, wanted, error=wait_sentence(error), entered=form)
        return slowed_down(shown, error)
    return after(flow, wanted, taken)


def after(flow: Flow, step: Step, taken: StepResult) -> Response[Any]:
    """Where the browser goes after a step: on, or to the same one again where there is more to do in it."""
    if taken.codes:
        following = flow.return_to if taken.session is not None else flows.path(taken.flow.binding)
        return page("recovery_codes.html", cookies=taken.cookies, codes=taken.codes, next=following)
    if taken.session is not None:
        return navigate(flow.return_to, taken.cookies)
    path, somebody = flows.path(taken.flow.binding), taken.flow.identity
    # Whose address has an account signs in to that, in any way.
    again = taken.flow.done == flow.done and not (somebody is not None and somebody.email_verified)
    return see_other(f"{path}/{step}" if again else path, taken.cookies)


async def show_error(request: AnyRequest, flow: Flow, error: str) -> Response[Any]:
    """The page of the next step, with what went wrong on the way back to it."""
    return await _show_next(request, flow, error=error)


async def _show_next(request: AnyRequest, flow: Flow, *, error: str | None = None) -> Response[Any]:
    state = await service.state_of(request, flow)
    allowed = transitions.allowed(state)
    if not allowed:
        # What was missing is not asked for any more, since a change in another tab. Only a step ends a flow, so what
        # waits begins another one.
        return see_other(flow.return_to)
    return await _show(request, flow, state, allowed[0], error=error)


@post("/login/{flow_id:str}", opt=PAGE)
async def leave_login(request: AnyRequest, flow_id: FromPath[str]) -> Response[Any]:
    """Go back to the application without signing in."""
    flow = await flows.load(request, flow_id)
    form = await forms.form(request)
    check_form_token(form, flow.binding.secret, PURPOSE)
    await flows.finish(flow)
    return navigate(flow.cancel_to or "/")


def _step(text: str) -> Step | None:
    return Step(text) if text in set(Step) else None


async def _show(
    request: AnyRequest,
    flow: Flow,
    state: State,
    step: Step,
    *,
    error: str | None = None,
    entered: dict[str, str] | None = None,
    token: str | None = None,
) -> Response[str]:
    """A page of the flow. What was entered is shown again, but for secrets."""
    allowed = transitions.allowed(state)
    entered = entered or {}
    context = await AUTHENTICATION_METHODS[step].context(flow)
    if Step.PASSKEY in allowed and step is Step.PASSWORD:
        context["passkey_options"] = await passkey.options(flow)
    return page(
        f"{step}.html",
        status=HTTPStatus.BAD_REQUEST if error else HTTPStatus.OK,
        scripts="passkey_options" in context,
        path=flows.path(flow.binding),
        csrf_token=form_token(flow.binding.secret, PURPOSE),
        client=flow.display,
        username=entered.get("username", (flow.identity and flow.identity.email) or flow.login_hint),
        upstreams=upstream.available(flow) if Step.UPSTREAM in allowed else [],
        not_fresh=[one.name for one in upstream.not_fresh(flow)],
        linking=flow.identity if flow.identity and flow.identity.email_verified else None,
        name=entered.get("name", ""),
        error=error,
        token=token,
        cancel=flow.cancel_to is not None,
        others=[other for other in allowed if other is not step],
        may_trust=settings().trusted_device_lifetime > 0 and step in transitions.SECOND and flow.user_id is not None,
        reauthenticate=flow.user_id is None and await sessions.current(request) is not None,
        **context,
    )


ROUTES = [start_login, show_login, show_step, take_step, leave_login]
