"""What an account page says after a change: the notices, and what they name.

``?done=`` chooses the sentence. What it names, such as a passkey that is gone, is in a sealed cookie until the redirect
has been followed.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from litestar import Request, Response
from litestar.datastructures import Cookie

from idp.http import forms, sealed_cookies
from idp.http.pages import see_other
from idp.infra.i18n import gettext as _

COOKIE = "notice"
MAX_LENGTH = 200
#: Changes that signed the user out everywhere else.
_ENDING_OTHERS = frozenset({"email", "passkey-removed", "totp-removed", "unlinked"})


def see_done(path: str, done: str, user_id: UUID, what: str = "", others: Sequence[Cookie] = ()) -> Response[bytes]:
    """Redirect to the page that says what was done.

    Args:
        done: the name of a notice.
        what: the name of what was changed.
        others: further cookies to set.
    """
    named = [sealed_cookies.seal(COOKIE, what[:MAX_LENGTH], _context(user_id, done))] if what else []
    return see_other(f"{path}?done={done}", [*others, *named])


def notice(request: Request[Any, Any, Any], user_id: UUID) -> tuple[str | None, list[Cookie]]:
    """Return the notice that the page shows, if any, and what deletes its cookie."""
    done = forms.query(request).get("done", "")
    what = sealed_cookies.read(request, COOKIE, _context(user_id, done)) or ""
    return _sentence(done, what), sealed_cookies.used(request, COOKIE)


def _context(user_id: UUID, done: str) -> str:
    return f"account.notice:{user_id}:{done}"


def _sentence(done: str, what: str) -> str | None:
    sentence = (_naming(what).get(done) if what else None) or _plain().get(done)
    if sentence and done in _ENDING_OTHERS:
        return f"{sentence} {_('You are signed out everywhere else.')}"
    return sentence


def _naming(what: str) -> dict[str, str]:
    return {
        "passkey": _("Your passkey “%(name)s” is ready.", name=what),
        "passkey-renamed": _("The passkey is now called “%(name)s”.", name=what),
        "passkey-removed": _(
            "The passkey “%(name)s” is removed. You may want to delete it from your device too.", name=what
        ),
        "session": _("%(device)s is signed out.", device=what),
        "unlinked": _("%(upstream)s is disconnected.", upstream=what),
        "app": _("%(app)s no longer has access.", app=what),
        "organization-left": _("You are no longer a member of %(organization)s.", organization=what),
    }


def _plain() -> dict[str, str]:
    return {
        "profile": _("Your profile is saved."),
        "picture": _("Your picture is saved."),
        "picture-removed": _("Your picture is removed."),
        "password": _("Your password is changed. You are signed out everywhere else."),
        "email": _("Your email address is changed."),
        "email-sent": _("We have sent you an email. Nothing changes until you confirm it."),
        "email-verified": _("Your email address is confirmed."),
        "passkey": _("Your passkey is ready."),
        "passkey-renamed": _("The passkey has a new name."),
        "passkey-removed": _("The passkey is removed. You may want to delete it from your device too."),
        "totp": _("Your authenticator app is set up."),
        "totp-removed": _("The authenticator app is removed."),
        "two-step-on": _("The second step is on. You are asked for it at your next sign-in."),
        "two-step-off": _("The second step is off. You can turn it on again here."),
        "session": _("That browser is signed out."),
        "sessions": _("You are signed out everywhere else."),
        "linked": _("Connected. You can now use it to sign in."),
        "unlinked": _("Disconnected."),
        "last-way": _("This is your only way to sign in. Choose a password first."),
        "app": _("The application no longer has access."),
        "organization-joined": _("You are now a member."),
        "organization-left": _("You are no longer a member."),
        "invitation-declined": _("The invitation is declined."),
        "request-allowed": _("Allowed. The application continues by itself. You can close this page."),
        "request-denied": _("Not allowed. You can close this page."),
        "no-admin": _("You no longer manage the organisation."),
        "left": _("You are no longer a member of the organisation."),
        "request-reported": _("Reported. This application cannot ask you again for a day."),
    }
