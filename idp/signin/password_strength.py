"""How good a new password is, while it is typed: `POST /password/strength`, for ``templates/static/fields.js``.

It changes nothing and says nothing of an account, but it costs time of the CPU. So only a page that asks for a new
password may call it, with what proves its form: of a sign-in flow, the account, the set-up or a mailed link.
"""

from typing import Any

from litestar import Request, Response, post

from idp.accounts import passwords
from idp.accounts.email_proofs import Purpose, verify_token
from idp.http import cookies, forms
from idp.http.access import Access
from idp.signin import flow as flows
from idp.signin import limits
from idp.signin.csrf import expired_form, has_form_token
from idp.signin.http import browser_of, current_session
from idp.signin.onward import FORM

AnyRequest = Request[Any, Any, Any]
#: Fields of the form that make a password easy to guess.
KNOWN, KNOWN_LENGTH = ("username", "email", "name"), 254


@post("/password/strength", status_code=200, opt={"access": Access.PAGE})
async def password_strength(request: AnyRequest) -> Response[dict[str, Any]]:
    """Return the score and a sentence about the password in the form. Neither is stored or logged."""
    await limits.count_strength()
    form = await forms.form(request)
    if not await _is_from_page(request, form):
        raise expired_form()
    known = [form[name][:KNOWN_LENGTH] for name in KNOWN if name in form]
    found = await passwords.assess(form.get("password", ""), user_inputs=known)
    return Response(found._asdict(), headers={"Cache-Control": "no-store"})


async def _is_from_page(request: AnyRequest, form: dict[str, str]) -> bool:
    """Return whether a page that asks for a new password was shown to the caller, and is still of use."""
    if "flow" in form:
        flow = await flows.load(browser_of(request), form["flow"])
        return has_form_token(form, flow.binding.secret, FORM)
    if "token" in form:
        # The set-up shows its form only for the right token.
        token = form["token"]
        return has_form_token(form, token, "setup") or await verify_token(token, Purpose.PASSWORD_RESET) is not None
    signed_in = await current_session(request) is not None
    return signed_in and has_form_token(form, cookies.read(request, cookies.SESSION) or "", "account")


ROUTES = [password_strength]
