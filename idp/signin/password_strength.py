"""How good a new password is, while it is typed: `POST /password/strength`, for ``templates/static/fields.js``.

Only our own pages may call it. It changes nothing and says nothing of an account, so it needs no session: a password is
also chosen before there is an account. Its cost is the reason for its limits.
"""

from typing import Any

from litestar import Request, Response, post

from idp.accounts import passwords
from idp.http import forms
from idp.http.access import Access
from idp.signin import limits

#: Fields of the form that make a password easy to guess.
KNOWN, KNOWN_LENGTH = ("username", "email", "name"), 254


@post("/password/strength", opt={"access": Access.PAGE})
async def password_strength(request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
    """Return the score and a sentence about the password in the form. Neither is stored or logged."""
    await limits.count_strength()
    form = await forms.form(request)
    known = [form[name][:KNOWN_LENGTH] for name in KNOWN if name in form]
    found = await passwords.assess(form.get("password", ""), user_inputs=known)
    return Response(found._asdict(), headers={"Cache-Control": "no-store"})


ROUTES = [password_strength]
