"""The pages at which a user enters the code of a device and confirms the device (RFC 8628 section 3.3).

The address may contain the code, but only fills it in: whoever sent the link could be someone else. The code is entered
by a signed-in user, so that guesses count for an account. The device is confirmed on a page of its own, each time and
before consent, because its user may have been sent the code by an attacker (section 5.4).
"""

from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException

from idp.accounts.repository.users import user_by_id
from idp.audit.events import note
from idp.errors import PageError, TooManyRequestsError
from idp.http import cookies, forms
from idp.http.access import Access
from idp.http.exception_handlers import slowed_down, wait_sentence
from idp.http.pages import page, see_other
from idp.infra.db.engine import transaction
from idp.infra.geoip import place
from idp.infra.i18n import gettext as _
from idp.oauth import consent, subjects
from idp.oauth.authorize import pending_request, polled
from idp.oauth.authorize.client import find_client
from idp.oauth.clients.models import Client
from idp.oauth.device import codes, limits, service
from idp.oauth.device.endpoint import VERIFICATION_PATH as PATH
from idp.oauth.device.service import WaitingDevice
from idp.reasons import Reason
from idp.settings import settings
from idp.signin import flow as flows
from idp.signin import sessions
from idp.signin.csrf import check_form_token, form_token
from idp.signin.flow import Occasion
from idp.signin.http import current_session, key_cookies, new_flow_key
from idp.signin.sessions import SignedIn

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}


class _Known(NamedTuple):
    """A device that waits, and its client."""

    device: WaitingDevice
    client: Client


async def _signed_in(request: AnyRequest, user_code: str | None) -> SignedIn | Response[Any]:
    """Return the session, or a redirect to a sign-in that returns to this page.

    Raises:
        NotFoundException: the grant is off.
    """
    if not settings().device_grant:
        raise NotFoundException
    session = await current_session(request)
    if session is None:
        return await _to_login(request, user_code)
    sessions.guard_changes(session)
    return session


async def _to_login(request: AnyRequest, user_code: str | None, occasion: Occasion | None = None) -> Response[Any]:
    key = await new_flow_key(request)
    binding = await flows.start(key, f"{PATH}?user_code={user_code}" if user_code else PATH, occasion=occasion)
    return see_other(flows.path(binding), key_cookies(key))


def _secret(request: AnyRequest) -> str:
    return cookies.read(request, cookies.SESSION) or ""


@get(PATH, opt=PAGE)
async def show_device(request: AnyRequest) -> Response[Any]:
    """Ask for the code that the device shows."""
    user_code = codes.read_user_code(forms.query(request).get("user_code", ""))
    session = await _signed_in(request, user_code)
    if isinstance(session, Response):
        return session
    return await _ask_for_code(request, session, user_code)


async def _ask_for_code(
    request: AnyRequest, session: SignedIn, user_code: str | None, error: str | None = None
) -> Response[str]:
    return page(
        "device.html",
        status=HTTPStatus.BAD_REQUEST if error else HTTPStatus.OK,
        action=PATH,
        csrf_token=form_token(_secret(request), "device"),
        user_code=user_code or "",
        user=await user_by_id(session.user_id),
        error=error,
    )


@post(PATH, opt=PAGE)
async def enter_code(request: AnyRequest) -> Response[Any]:
    """Look up the code and ask whether the device is the user's."""
    form = await forms.form(request)
    typed = form.get("user_code", "")
    session = await _signed_in(request, codes.read_user_code(typed))
    if isinstance(session, Response):
        return session
    check_form_token(form, _secret(request), "device")
    try:
        await limits.count_entry(session.user_id)
    except TooManyRequestsError as error:
        return slowed_down(await _ask_for_code(request, session, None, wait_sentence(error)), error)
    found = await _find(typed)
    if found is None:
        note("user_code", outcome="failure", user_id=session.user_id, detail={"reason": Reason.WRONG_CODE})
        wrong = _("This code is wrong or has expired. Compare it with the one on your device.")
        return await _ask_for_code(request, session, codes.read_user_code(typed), wrong)
    device, client = found
    return page(
        "device_confirm.html",
        action=f"{PATH}/confirm",
        csrf_token=form_token(_secret(request), _purpose(device.user_code)),
        client=consent.display(client),
        unchecked=client.origin != "admin",
        user_code=device.user_code,
        place=place(device.ip_address),
        ip_address=device.ip_address,
        started_at=device.started_at,
        user=await user_by_id(session.user_id),
    )


async def _find(typed: str) -> _Known | None:
    """Return the device that shows a code, if it waits and its client still has the grant."""
    device = await service.find_waiting(typed)
    client = await find_client(device.asked.client_id) if device is not None else None
    if device is None or device.asked.polled is None or client is None:
        return None
    return _Known(device, client) if polled.may_still(device.asked.polled, client) else None


def _purpose(user_code: str) -> str:
    """Binds the form to the code of the device that it shows."""
    return f"device {user_code}"


@post(f"{PATH}/confirm", opt=PAGE)
async def confirm_device(request: AnyRequest) -> Response[Any]:
    """Handle the answer about the device. After a yes, everything is as for an authorization request of the client."""
    form = await forms.form(request)
    user_code = codes.read_user_code(form.get("user_code", ""))
    session = await _signed_in(request, user_code)
    if isinstance(session, Response):
        return session
    check_form_token(form, _secret(request), _purpose(user_code or ""))
    if form.get("action") == "switch":
        return await _to_login(request, user_code, Occasion.SWITCH)
    found = await _find(user_code or "")
    if found is None:
        raise PageError(
            _("This code has expired"),
            _("Start again on your device to get another code."),
            way_out=((_("Enter another code"), PATH),),
            template="flow_gone.html",
        )
    match form.get("action"):
        case "confirm":
            key = await new_flow_key(request)
            # Only the user who knows the device may go on: it was not shown to another one who signs in meanwhile.
            subject = subjects.subject(found.client, session.user_id)
            pending = await pending_request.store(key, msgspec.structs.replace(found.device.asked, subject=subject))
            return see_other(pending_request.path(pending), key_cookies(key))
        case "deny":
            async with transaction():
                await service.deny(found.device.asked, session)
            return see_other(f"{PATH}/denied")
    raise PageError(_("Please choose"), _("Allow or deny the request."), status=HTTPStatus.BAD_REQUEST)


@get(f"{PATH}/approved", opt=PAGE)
async def show_approved(request: AnyRequest) -> Response[Any]:
    """Say that the device is signed in."""
    return page("device_done.html", approved=True)


@get(f"{PATH}/denied", opt=PAGE)
async def show_denied(request: AnyRequest) -> Response[Any]:
    """Say that the device gets no access."""
    return page("device_done.html", approved=False)


ROUTES = [show_device, enter_code, confirm_device, show_approved, show_denied]
