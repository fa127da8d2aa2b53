"""Where a browser goes from the page of a sign-in that is over: on, to where the sign-in led."""

from typing import Any

from litestar import Request, Response

from idp.errors import FlowError
from idp.http import forms
from idp.http.pages import navigate, see_other
from idp.infra.request_context import head
from idp.signin import flow as flows
from idp.signin.csrf import check_form_token
from idp.signin.flow import Flow
from idp.signin.http import browser_of, current_session

AnyRequest = Request[Any, Any, Any]
#: The purpose of the CSRF tokens of the forms.
FORM = "login"


async def load(request: AnyRequest, flow_id: str) -> Flow | Response[Any]:
    """Return the flow, or a redirect to where it led if it is over.

    A page that is opened again leads on: the target shows what there is, or starts another sign-in. So does a form, if
    nobody would miss what was entered in it: the user is signed in, or an application asked. Its request is over too,
    and says so with a link to the application.

    Raises:
        FlowError: it is unknown, bound to another browser, or over.
    """
    try:
        return await flows.load(browser_of(request), flow_id)
    except FlowError as error:
        return await _lead_on(request, error)


async def load_form(request: AnyRequest, flow_id: str) -> tuple[Flow, dict[str, str]] | Response[Any]:
    """Like :func:`load`, and return the posted form of one of its pages.

    Raises:
        FlowError: see there.
        PageError: the CSRF token is wrong.
    """
    flow = await load(request, flow_id)
    if isinstance(flow, Response):
        return flow
    form = await forms.form(request)
    check_form_token(form, flow.binding.secret, FORM)
    return flow, form


async def _lead_on(request: AnyRequest, error: FlowError) -> Response[Any]:
    if error.return_to is None:
        raise error
    if request.method == "GET" or flows.moved(error):
        return see_other(error.return_to)
    if error.on_behalf or await current_session(request) is not None:
        return navigate(error.return_to)
    raise error


async def load_or_leave(request: AnyRequest, flow_id: str) -> Flow | Response[Any]:
    """Return the flow; or a redirect to where it leads, if it is over or a user signed in at this browser after it
    started.

    That was in this flow, whose page the browser shows once more, or in another tab. The target decides whether the
    session is good enough; if not, it starts a flow that is newer than the session. An invitation, and an upstream
    identity that is to be linked, need this very flow.

    A page asks with HEAD whether it is still of use (``tab.js``). The response is empty, and is not worth rendering.
    """
    flow = await load(request, flow_id)
    if isinstance(flow, Response):
        return flow
    if not _needed(flow):
        session = await current_session(request)
        if session is not None and flow.created_at is not None and session.auth_time >= flow.created_at:
            return see_other(flow.return_to)
    return Response(b"") if head.get() else flow


def _needed(flow: Flow) -> bool:
    return flow.identity is not None or (flow.registration is not None and flow.registration.invited)
