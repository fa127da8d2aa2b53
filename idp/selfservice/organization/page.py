"""Declares and authorizes the pages of one organization.

Every request needs a session of the level of administration, a recent sign-in where declared, a membership that manages
the organization of the path, and a valid CSRF token for forms. Each transaction begins with the same checks.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

import msgspec
from litestar import HttpMethod, Request, Response, route
from litestar.handlers import HTTPRouteHandler

from idp.accounts.repository import users
from idp.accounts.repository.users import user_by_id
from idp.directory import delegation
from idp.directory.models import Organization
from idp.errors import DomainError, NotFoundError, PageError, PermissionDeniedError, TooManyRequestsError
from idp.http import cookies, forms, sealed_cookies
from idp.http.access import Access
from idp.http.exception_handlers import slowed_down, wait_sentence
from idp.http.pages import page as html_page
from idp.http.pages import see_other
from idp.infra import request_context
from idp.infra.db.engine import authority, begin_with
from idp.infra.db.listing import InvalidQueryError, Listing, find, list_page
from idp.infra.db.listing import Page as Rows
from idp.infra.i18n import gettext as _
from idp.selfservice.account_page import AccountRequest, is_sufficient, sign_in
from idp.selfservice.organization.sentences import notice, sentence
from idp.settings import settings
from idp.signin import sessions
from idp.signin.csrf import check_form_token, form_token
from idp.signin.http import current_session
from idp.signin.sessions import SignedIn

AnyRequest = Request[Any, Any, Any]
PREFIX = "/organization/{slug:str}"
#: Rows of a page of a list.
ROWS = 50
#: The cookie with a new secret, until its page has been shown.
SECRET_COOKIE = "organization-secret"


class Visit(msgspec.Struct, frozen=True):
    """An authorized request of an administrator of an organization.

    Attributes:
        ids: the ids in the path. Nothing is known of what they name.
        query: the parameters of the query.
        form: the posted form. Its CSRF token is valid.
    """

    request: AnyRequest
    account: AccountRequest
    organization: Organization
    ids: Mapping[str, UUID]
    query: Mapping[str, str]
    form: Mapping[str, str]

    @property
    def path(self) -> str:
        """The path of the organization."""
        return f"/organization/{self.organization.slug}"

    @property
    def here(self) -> str:
        """The path of this page."""
        return str(self.request.scope["path"])

    @property
    def user_id(self) -> UUID:
        """The administrator."""
        return self.account.user.id


Page = Callable[[Visit], Awaitable[Response[Any]]]
ROUTES: list[HTTPRouteHandler] = []


def page(method: str, path: str, *, fresh: bool = False, back: str | None = None) -> Callable[[Page], Page]:
    """Declare a page.

    Args:
        path: the path after that of the organization.
        fresh: whether a recent sign-in is required. For what gives or takes power, or cannot be undone.
        back: the path of the page that a sign-in returns to, with parameters, if there is none at the path itself.
    """

    def declare(function: Page) -> Page:
        async def endpoint(request: AnyRequest, slug: str, **ids: UUID) -> Response[Any]:
            try:
                visit = await _authorize(request, slug, ids, fresh=fresh, back=back)
                return visit if isinstance(visit, Response) else await function(visit)
            except NotFoundError as error:
                message = _("This organisation does not exist, or you do not manage it.")
                raise PageError(_("There is nothing here"), message, status=error.status) from error
            except PermissionDeniedError as error:
                message = _("You no longer manage this organisation.")
                raise PageError(_("You do not have access"), message, status=error.status) from error
            except DomainError as error:
                raise PageError(_("This cannot be done"), sentence(error), status=error.status) from error

        endpoint.__name__ = function.__name__
        opt = {"access": Access.PAGE}
        ROUTES.append(route(PREFIX + path, http_method=[HttpMethod(method)], opt=opt, status_code=200)(endpoint))
        return function

    return declare


async def _authorize(
    request: AnyRequest, slug: str, ids: Mapping[str, UUID], *, fresh: bool, back: str | None
) -> Visit | Response[Any]:
    """Authorize a request, or redirect to a sign-in that returns to its page.

    Raises:
        UnknownOrganizationError: the user does not manage an organization with this slug.
        PageError: the CSRF token is wrong.
    """
    level, query = settings().admin_acr, forms.query(request)
    here = quote(str(request.scope["path"]))
    if back is not None:
        here = f"/organization/{quote(slug)}{back.format(**ids)}"
    elif query and request.method == HttpMethod.GET:
        here = f"{here}?{urlencode(query)}"
    session = await current_session(request)
    if session is None:
        return await sign_in(request, here, None, fresh=fresh, acr=level)
    organization = await delegation.managed(session.user_id, slug)
    form: dict[str, str] = {}
    if request.method == HttpMethod.POST:
        form = await forms.form(request)
        check_form_token(form, _secret(request), "account")
    if not is_sufficient(session, fresh=fresh, acr=level):
        return await sign_in(request, here, session, fresh=fresh, acr=level)
    authority.set(partial(_hold, session, organization.id, fresh=fresh))
    request_context.actor.set(f"user:{session.user_id}")
    user = await user_by_id(session.user_id)
    assert user is not None  # noqa: S101 -- a session goes when its user does
    return Visit(request, AccountRequest(user, session, in_organizations=True), organization, ids, query, form)


async def _hold(session: SignedIn, organization_id: UUID, *, fresh: bool) -> None:
    await sessions.lock(session, fresh=fresh)
    await delegation.hold(session.user_id, organization_id)


def lock_users_first(visit: Visit, user_ids: Collection[UUID]) -> None:
    """Begin each later transaction with locking the administrator and some users, in the order of their ids."""
    begin_with(partial(users.lock_users, {visit.user_id, *user_ids}))


def _secret(request: AnyRequest) -> str:
    return cookies.read(request, cookies.SESSION) or ""


def render(
    visit: Visit,
    template: str,
    section: str,
    *,
    error: DomainError | str | None = None,
    **context: Any,
) -> Response[str]:
    """Render a page. The query parameter ``done`` selects a notice.

    Args:
        section: the tab.
        error: why a form was refused.
    """
    status: int = HTTPStatus.OK
    if isinstance(error, DomainError):
        status, error = error.status, reason(error)
    elif error:
        status = HTTPStatus.UNPROCESSABLE_ENTITY
    return html_page(
        f"organization/{template}.html",
        status=status,
        csrf_token=form_token(_secret(visit.request), "account"),
        section=section,
        user=visit.account.user,
        organization=visit.organization,
        path=visit.path,
        error=error,
        cookies=sealed_cookies.used(visit.request, SECRET_COOKIE),
        done=None if error else notice(visit.query.get("done", "")),
        **context,
    )


def reason(error: DomainError | TooManyRequestsError) -> str:
    """Return the sentence for an error, in the language of the page."""
    return wait_sentence(error) if isinstance(error, TooManyRequestsError) else sentence(error)


def done(visit: Visit, path: str, what: str) -> Response[bytes]:
    """Redirect to a page of the organization that shows a notice."""
    return see_other(f"{visit.path}{path}?{urlencode({'done': what})}")


def show_once(visit: Visit, path: str, secret: str) -> Response[bytes]:
    """Redirect to the page of a record, which shows its new secret."""
    target = f"{visit.path}{path}"
    return see_other(target, [sealed_cookies.seal(SECRET_COOKIE, secret, _context(visit, target))])


def secret_of(visit: Visit) -> str | None:
    """Return the secret that this page shows; None without one. The response deletes the cookie."""
    return sealed_cookies.read(visit.request, SECRET_COOKIE, _context(visit, visit.here))


def _context(visit: Visit, path: str) -> str:
    return f"organization.secret:{visit.user_id}:{path}"


def to_account(what: str) -> Response[bytes]:
    """Redirect to the account page, which shows a notice, after the user has left or no longer manages it."""
    return see_other(f"/account?{urlencode({'done': what})}")


async def ask_to_wait(show: Callable[[str], Awaitable[Response[Any]]], error: TooManyRequestsError) -> Response[Any]:
    """Return a page that asks the user to wait."""
    return slowed_down(await show(wait_sentence(error)), error)


async def rows(visit: Visit, listing: Listing, **filters: str) -> Rows:
    """Return the page of a list of the organization that the query selects."""
    fixed = {"organization_id": str(visit.organization.id), **filters}
    try:
        return await list_page(listing, fixed, cursor=visit.query.get("cursor"), limit=ROWS)
    except InvalidQueryError:
        return await list_page(listing, fixed, limit=ROWS)


def next_url(visit: Visit, page: Rows) -> str | None:
    """Return the URL of the next page, or None."""
    if page.next_cursor is None:
        return None
    kept = {name: value for name, value in visit.query.items() if name not in ("cursor", "done")}
    return f"{visit.here}?{urlencode(kept | {'cursor': page.next_cursor})}"


async def one(visit: Visit, listing: Listing, **key: UUID) -> Any:
    """Return a record of the organization.

    Raises:
        NotFoundError: the organization has none with this key.
    """
    names = {name: str(value) for name, value in key.items()}
    row = await find(listing, organization_id=str(visit.organization.id), **names)
    if row is None:
        raise NotFoundError("The organization has no such record.")
    return row
