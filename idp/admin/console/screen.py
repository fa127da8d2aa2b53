"""Declares and authorizes the screens of the console.

A screen is declared with the permission that it needs. Every request requires a session of the configured ``acr``, a
recent sign-in where declared, a role with the permission, and a valid CSRF token for forms.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from litestar import HttpMethod, Request, Response, get, route
from litestar.handlers import HTTPRouteHandler

from idp.accounts.repository.users import user_by_id
from idp.accounts.tables import User
from idp.admin.access import Caller, hold_roles, person
from idp.admin.console.empty import empty_text, first_step
from idp.admin.console.menu import allowed_menu, section_of
from idp.admin.roles import Permission
from idp.errors import (
    ConflictError,
    DomainError,
    NotFoundError,
    OAuthError,
    PageError,
    ValidationError,
)
from idp.http import cookies, forms, sealed_cookies
from idp.http.access import Access, LargeBody
from idp.http.body import MAX_BODY_BYTES
from idp.http.pages import page, see_other
from idp.infra import request_context
from idp.infra.db.engine import authority
from idp.infra.i18n import locale
from idp.oauth.clients import path_ids
from idp.settings import settings
from idp.signin import flow as flows
from idp.signin import sessions
from idp.signin.csrf import check_form_token, form_token
from idp.signin.enforcement import speaks_for_administrators
from idp.signin.flow import Occasion
from idp.signin.http import current_session, key_cookies, new_flow_key
from idp.signin.sessions import SignedIn
from idp.signin.transitions import ACR_VALUES

AnyRequest = Request[Any, Any, Any]
HOME = "/admin"
SWITCH = "/admin/switch"
#: The query parameter with the id of the sign-in flow that stores the form.
KEPT = "kept"
#: The cookie with a secret that one page shows (:mod:`idp.admin.console.once`).
SECRET_COOKIE = "secret"
SIGNED_IN_AGAIN = (
    "You signed in again. Nothing is saved yet. The form has the values that you entered, except for secrets."
)


class AdminRequest(msgspec.Struct, frozen=True):
    """An authorized request of an admin.

    Attributes:
        hold: checks session and role, but not that the sign-in is recent: the authority of what a screen has started.
        params: the parameters of the path.
        query: the parameters of the query.
        form: the posted form. Its CSRF token is valid.
        kept: the form as entered before a renewed sign-in.
        file: the uploaded file.
    """

    http: AnyRequest
    caller: Caller
    user: User
    params: Mapping[str, str]
    query: Mapping[str, str]
    form: Mapping[str, str]
    kept: Mapping[str, str]
    hold: Callable[[], Awaitable[None]]
    file: bytes = b""


#: Errors that a form shows with the entered values. Every other DomainError is a page (:func:`screen`).
FORM_ERRORS = (OAuthError, ValidationError, ConflictError)

Screen = Callable[[AdminRequest], Awaitable[Response[Any]]]
ROUTES: list[HTTPRouteHandler] = []


def screen(
    method: str,
    path: str,
    permission: Permission | None,
    *,
    fresh: bool = False,
    upload: bool = False,
    page: str = "",
    max_body: int = MAX_BODY_BYTES,
    max_file: Callable[[], int] | None = None,
) -> Callable[[Screen], Screen]:
    """Declare a screen.

    Args:
        path: the path after ``/admin``.
        permission: the required permission; None: any admin.
        fresh: whether a recent sign-in is required. For screens that give power away or cannot be undone.
        upload: whether the form has a file named ``file``.
        page: the path of the form's page after ``/admin``, if it differs.
        max_body: the maximum size of the form in bytes.
        max_file: returns that of the file, if it is larger than a form.
    """

    def declare(function: Screen) -> Screen:
        async def endpoint(request: AnyRequest, **_: str) -> Response[Any]:
            try:
                admin_request = await _authorize(request, permission, fresh=fresh, upload=upload, page=page)
                return admin_request if isinstance(admin_request, Response) else await function(admin_request)
            except msgspec.ValidationError as error:
                raise PageError(
                    "Written by a newer version",
                    "This record has a value that this version does not know. Use the newer version to see it.",
                    status=HTTPStatus.CONFLICT,
                    way_out=(("Go to the console", HOME),),
                ) from error
            except DomainError as error:
                raise PageError(
                    error.title, error.description, status=error.status, way_out=(("Go to the console", HOME),)
                ) from error

        opt: dict[str, Any] = {"access": Access.PAGE, "permission": permission}
        if max_file is not None or max_body > MAX_BODY_BYTES:
            opt["large_body"] = LargeBody(lambda: max_body + (max_file() if max_file else 0), partial(_may, permission))
        full = HOME + path.replace("}", ":str}")
        endpoint.__name__ = function.__name__
        ROUTES.append(route(full, http_method=[HttpMethod(method)], opt=opt, status_code=200)(endpoint))
        return function

    return declare


@get(SWITCH, opt={"access": Access.PAGE, "permission": None}, status_code=200)
async def sign_in_with_another_account(request: AnyRequest) -> Response[Any]:
    """Start a sign-in that leads to the console, whoever is signed in."""
    return await sign_in(request, HOME, max_age=0, occasion=Occasion.SWITCH)


async def _may(permission: Permission | None, request: AnyRequest) -> bool:
    """Return whether the session of a request is of an admin with a permission, before the body was read."""
    session = await current_session(request)
    return session is not None and permission in (await person(session.user_id)).allowed


async def _authorize(
    request: AnyRequest, permission: Permission | None, *, fresh: bool, upload: bool, page: str
) -> AdminRequest | Response[Any]:
    """Authorize a request, or redirect to a sign-in that returns here with the entered form.

    Raises:
        PermissionDeniedError: the user is not an admin, or no role allows it.
        PageError: the CSRF token is wrong.
    """
    # The console speaks English, its dates too (docs/decisions/0021).
    locale.set("en")
    back = f"{HOME}{page}" if page else _back_to(request)
    session = await current_session(request)
    if session is None:
        return await sign_in(request, back, max_age=settings().reauthentication_lifetime if fresh else None)
    user = await user_by_id(session.user_id)
    caller = await person(session.user_id)
    if user is None or not caller.roles:
        raise PageError(
            "This account is not an administrator",
            f"You are signed in as {user.email}. Only accounts with a role have access."
            if user
            else "Only accounts with a role have access.",
            status=HTTPStatus.FORBIDDEN,
            way_out=(("Sign in with another account", SWITCH), ("Your account", "/account")),
        )
    if permission is not None:
        caller.require(permission)
    form, file = dict[str, str](), b""
    if request.method == HttpMethod.POST:
        form, file = await forms.form_with_file(request) if upload else (await forms.form(request), b"")
        check_form_token(form, _secret(request), "admin")
    if not speaks_for_administrators(session.done):
        return await sign_in(request, back, login_hint=user.email, max_age=0, form=form)
    if fresh and session.age() > settings().reauthentication_lifetime:
        return await sign_in(request, back, login_hint=user.email, max_age=0, form=form)
    if ACR_VALUES.index(session.acr) < ACR_VALUES.index(settings().admin_acr):
        return await sign_in(request, back, step_up=session, login_hint=user.email, form=form)
    authority.set(partial(_hold, session, caller, fresh=fresh))
    request_context.actor.set(caller.actor)
    query = forms.query(request)
    kept = await flows.stored_form(query[KEPT], user.id) if KEPT in query else {}
    hold = partial(_hold, session, caller, fresh=False)
    return AdminRequest(request, caller, user, path_ids.decoded(request.path_params), query, form, kept, hold, file)


async def _hold(session: SignedIn, caller: Caller, *, fresh: bool) -> None:
    await sessions.lock(session, fresh=fresh)
    await hold_roles(caller)


def _back_to(request: AnyRequest) -> str:
    """Return the path to return to after the sign-in: this page, or the page of the form."""
    # Encoded again, because it goes into a header.
    path, query = quote(str(request.scope["path"])), urlencode(forms.query(request))
    return f"{path}?{query}" if query and request.method != HttpMethod.POST else path


async def sign_in(
    request: AnyRequest,
    back: str,
    *,
    step_up: SignedIn | None = None,
    login_hint: str = "",
    max_age: int | None = None,
    form: Mapping[str, str] | None = None,
    occasion: Occasion | None = None,
) -> Response[Any]:
    """Redirect to a sign-in.

    Args:
        form: the posted form, stored until the sign-in returns.
    """
    key = await new_flow_key(request)
    binding = key.bind()
    entered = {name: value for name, value in (form or {}).items() if name != "csrf_token"}
    if entered:
        back = f"{back}?{urlencode({KEPT: binding.id})}"
    await flows.start(
        key,
        back,
        cancel_to="/account",
        acr=settings().admin_acr,
        required=settings().admin_acr,
        max_age=max_age,
        step_up=step_up,
        login_hint=login_hint,
        occasion=occasion,
        binding=binding,
    )
    if entered:
        await flows.store_form(binding, entered)
    return see_other(flows.path(binding), key_cookies(key))


def not_found() -> NotFoundError:
    """Return the error for a record that does not exist."""
    return NotFoundError("It may have been deleted.")


def _secret(request: AnyRequest) -> str:
    return cookies.read(request, cookies.SESSION) or ""


#: Optional values of the templates.
_NOTHING: dict[str, Any] = dict.fromkeys(
    (
        *("error", "intro", "subject", "acts", "filters", "forms", "next", "empty", "nothing", "step"),
        *("facts", "tables", "snippets", "snippets_heading", "secret", "shown_once", "danger", "multipart", "version"),
        *("progress", "refresh", "guide", "choose", "query", "total", "sections", "links", "fields"),
    )
)


def render(
    admin_request: AdminRequest, template: str, *, section: str = "", status: int = HTTPStatus.OK, **values: Any
) -> Response[str]:
    """Render a screen. The query parameter ``done`` selects a notice. A form shows the entries of before a sign-in."""
    if admin_request.kept and "fields" in values:
        values["fields"] = [_entered(field, admin_request.kept) for field in values["fields"]]
        values["version"] = admin_request.kept.get("version") or values.get("version")
        values["intro"] = f"{SIGNED_IN_AGAIN} {values.get('intro') or ''}".rstrip()
    if template == "list" and not values.get("empty"):
        values["nothing"] = empty_text(str(admin_request.http.scope["path"]))
        values["step"] = first_step(values.get("acts") or (), values.get("forms") or ())
    return page(
        f"admin/{template}.html",
        status=status,
        cookies=sealed_cookies.used(admin_request.http, SECRET_COOKIE),
        scripts=True,
        csrf_token=form_token(_secret(admin_request.http), "admin"),
        section=section,
        paged="cursor" in admin_request.query,
        menu=allowed_menu(admin_request.caller.allowed),
        chosen=section_of(section),
        user=admin_request.user,
        roles=sorted(admin_request.caller.roles),
        may=admin_request.caller.allowed,
        done=NOTICES.get(admin_request.query.get("done", "")),
        **(_NOTHING | values),
    )


def _entered(field: Any, kept: Mapping[str, str]) -> Any:
    """Return a :class:`idp.admin.console.components.Field` with the entered value, except for secrets and files."""
    if field.kind in ("password", "file"):
        return field
    if field.kind == "choices":
        prefix = f"{field.name}:"
        return field._replace(value="\n".join(name.removeprefix(prefix) for name in kept if name.startswith(prefix)))
    return field._replace(value=kept.get(field.name, ""))


def redirect_with_notice(path: str, what: str = "saved") -> Response[bytes]:
    """Redirect to a screen that shows a notice."""
    return see_other(f"{HOME}{path}?{urlencode({'done': what})}")


NOTICES = {
    "saved": "Saved.",
    "registered": "The client is registered.",
    "user-created": "The user is created.",
    "job-created": "The job is queued. A server starts it within seconds. You can leave this page.",
    "job-cancelled": "The job is cancelled.",
    "job-resumed": "The job is queued again.",
    "invited": "The invitation was sent.",
    "invitation-revoked": "The invitation is revoked.",
    "tested": "The SMTP server accepted the test email.",
    "mailed": "The email was sent.",
    "disabled": "Disabled. All its sessions and tokens have ended.",
    "enabled": "Enabled again.",
    "contained": "Contained. This is what ended, and what continues elsewhere.",
    "offered": "Enabled. Users can sign in with it.",
    "test-passed": "The test passed.",
    "test-failed": "The test failed. See the check below.",
    "unlocked": "The user can try again now.",
    "signed-out": "Signed out everywhere.",
    "ended": "The session has ended.",
    "reset": "All second factors are removed.",
    "deleted": "Deleted.",
    "tokens-revoked": "All tokens issued until now are revoked.",
    "secret-ended": "The old secret is no longer accepted.",
    "granted": "The role is granted.",
    "given": "The role is given.",
    "added": "Added.",
    "removed": "Removed.",
    "revoked": "The role is revoked.",
    "retried": "The mail is tried again.",
    "queued": "The delivery is queued.",
    "replayed": "The delivery is sent again.",
    "published": "The new key is published. It signs when all resource servers have fetched it.",
    "activated": "The key signs from now on.",
    "destroyed": "The private part of the key is erased.",
    "withdrawn": "The consent is withdrawn.",
    "identified": "This is the user. The question is in the audit trail.",
}
