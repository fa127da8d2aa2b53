"""`/admin/setup`: the target of the one-time link that creates the first owner."""

from http import HTTPStatus
from typing import Any

from litestar import Request, Response, get, post

from idp.accounts.addresses import InvalidEmailError, normalise_email
from idp.accounts.passwords import InvalidPasswordError, check_new_password, hash_password, verify_password
from idp.accounts.repository.users import user_by_email
from idp.accounts.tables import Origin, User
from idp.accounts.users import MAX_NAME_LENGTH, insert_user
from idp.admin import setup
from idp.admin.console.screen import HOME, sign_in
from idp.errors import PageError
from idp.http import forms
from idp.http.access import Access
from idp.http.pages import page
from idp.infra.db.engine import transaction
from idp.infra.i18n import locale
from idp.signin import limits
from idp.signin.csrf import check_form_token, form_token
from idp.signin.flow import Occasion
from idp.signin.http import app_of

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}


def _shut() -> PageError:
    return PageError(
        "There is nothing to set up here",
        "This link was used, or is not the latest one in the log. If there is no admin: idp admins add.",
        status=HTTPStatus.NOT_FOUND,
    )


@get(setup.PATH, opt=PAGE)
async def show_setup(request: AnyRequest) -> Response[str]:
    """Show the form. It changes nothing."""
    locale.set("en")
    token = forms.query(request).get("token", "")
    if not await setup.is_valid_token(token):
        raise _shut()
    return _page(token)


def _page(token: str, error: str | None = None, **entered: str) -> Response[str]:
    return page(
        "admin/setup.html",
        scripts=True,
        status=HTTPStatus.BAD_REQUEST if error else HTTPStatus.OK,
        # The token protects against CSRF: another site does not know it.
        csrf_token=form_token(token, "setup"),
        token=token,
        error=error,
        entered={"email": "", "name": ""} | entered,
    )


@post(setup.PATH, opt=PAGE, status_code=200)
async def do_setup(request: AnyRequest) -> Response[Any]:
    """Create the first owner, who then signs in and enrols a second factor."""
    locale.set("en")
    form = await forms.form(request)
    token = form.get("token", "")
    await limits.count_step(app_of(request))
    if not await setup.is_valid_token(token):
        raise _shut()
    check_form_token(form, token, "setup")
    email, name = form.get("email", ""), form.get("name", "").strip()
    try:
        user = await _user(normalise_email(email), name, form.get("password", ""))
    except InvalidEmailError:
        return _page(token, "Enter your email address, such as name@example.com.", email=email, name=name)
    except InvalidPasswordError as error:
        return _page(token, str(error), email=email, name=name)
    if user is None:
        return _page(
            token, "There is already an account with this address, and the password is wrong.", email=email, name=name
        )
    async with transaction():
        # A user who registered with this address in the meantime is another person.
        known = await user_by_email(user.email)
        if known is None:
            await insert_user(user)
        if (known is not None and known.id != user.id) or not await setup.complete(token, user):
            raise _shut()
    return await sign_in(request, HOME, login_hint=user.email, occasion=Occasion.CREATED)


async def _user(email: str, name: str, password: str) -> User | None:
    """Return the user to become owner: a new one, or an existing one with the right password.

    Raises:
        InvalidPasswordError: the password of the new user is too weak.
    """
    known = await user_by_email(email)
    if known is not None:
        right = await verify_password(known.password_hash, password)
        return known if right and known.disabled_at is None else None
    if not name or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise InvalidPasswordError("Enter a name on one line.")
    await check_new_password(password, user_inputs=[email, name])
    # The holder of the token is the operator, so the address counts as verified.
    password_hash = await hash_password(password)
    return User(email=email, name=name, password_hash=password_hash, email_verified=True, origin=Origin.OPERATOR)


ROUTES = [show_setup, do_setup]
