"""Pages with sample data, in the look of a branding. They do nothing."""

import re
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from litestar import Response

from idp.admin.console.branding_owners import Subject
from idp.branding.models import WAYS, Brand, Branding
from idp.branding.registry import Layer, brands, over_settings, resolve
from idp.branding.stylesheets import in_scheme
from idp.http.mail_preview import DARK, LIGHT, framed_mail
from idp.http.pages import for_our_frame, page
from idp.mail.brand import for_mail
from idp.mail.templates import rendering
from idp.oauth.scopes import describe
from idp.settings import settings
from idp.signin import ways
from idp.signin.flow import Display
from idp.signin.transitions import Step

#: The pages, by their names for people.
PREVIEWS = {"sign_in": "Sign-in", "consent": "Consent", "error": "Error", "mail": "Email"}
_STYLESHEETS = re.compile(r'(?<=rel="stylesheet" href=")[^"]+')
_CLIENT = "Example application"


def preview(subject: Subject, branding: Branding, asked: Mapping[str, str]) -> Response[str]:
    """Return a page.

    Args:
        asked: ``preview``, one of :data:`PREVIEWS`, by default the first; and ``scheme``, ``light`` (the default) or
            ``dark``.
    """
    brand = _brand(subject, branding)
    if asked.get("preview") == "mail":
        sample = {"code": "284713", "link": settings().issuer, "minutes": 10, "brand": for_mail(brand)}
        mail = rendering.render("sign_in_code", rendering.values_of("ada@example.com", "Ada Lovelace", sample))
        return framed_mail(mail.html, DARK if asked.get("scheme") == DARK else LIGHT)
    template, values = _PAGES.get(asked.get("preview", ""), _sign_in)(brand)
    client = Display(client_name=subject.name if subject.owner.kind == "client" else _CLIENT, brand=brand)
    response = page(template, brand=brand, client=client, **values)
    scheme = "dark" if asked.get("scheme") == "dark" else "light"
    # The preference of the browser does not apply: neither to the page nor to its style sheets.
    text = _STYLESHEETS.sub(
        lambda link: f"{link[0]}{'&amp;' if '?' in link[0] else '?'}scheme={scheme}", response.content
    )
    response.content = in_scheme(text, scheme)
    return for_our_frame(response)


def refused(message: str) -> Response[str]:
    """Return a page that says why the entered values cannot be saved."""
    return for_our_frame(
        page("error.html", title="This cannot be saved", message=message, error=None, developer=[], way_out=())
    )


def _brand(subject: Subject, branding: Branding) -> Brand:
    server = Layer("server", None, brands.server())
    match subject.owner.kind:
        case "server":
            return resolve((Layer("server", None, over_settings(branding)),))
        case "client":
            return resolve((Layer("client", None, branding), server))
        case "organization":
            return resolve((Layer("organization", subject.name, branding), server))


def _sign_in(brand: Brand) -> tuple[str, dict[str, Any]]:
    preferred = [Step(way) for way in brand.ways]
    steps = ways.first([Step(way) for way in WAYS], preferred)
    return f"{steps[0]}.html", {
        "path": "", "csrf_token": "", "username": "", "reauthenticate": False, "error": None, "cancel": True,
        "upstreams": [SimpleNamespace(id="example", name="Example provider", icons=())], "directories": [],
        "not_fresh": [],
        "linking": None, "name": "", "wrong": "", "token": None,
        "order": ways.ordered(steps, preferred), "mails": True, "created": False,
        "others": ways.ordered([*steps[1:], Step.REGISTRATION], preferred),
        "may_trust": False, "passkey_options": "{}", "sent_to": None, "identity": None,
    }  # fmt: skip


def _consent(_brand: Brand) -> tuple[str, dict[str, Any]]:
    return "consent.html", {
        "action": "", "csrf_token": "", "user": SimpleNamespace(email="ada@example.com", name="Ada Lovelace"),
        "scopes": [describe(scope) for scope in ("profile", "email")], "details": [], "claims": [], "resources": [],
        "lasting": "Until you remove it in your account, under Applications.", "site": None,
        "document": None, "claimed_name": _CLIENT, "unchecked": False,
        "destination": "Afterwards you go back to app.example.com.",
    }  # fmt: skip


def _error(_brand: Brand) -> tuple[str, dict[str, Any]]:
    return "error.html", {
        "developer": [],        "title": "This sign-in has expired", "error": None, "way_out": (),
        "message": "It was open for too long. Go back to the application and begin again.",
    }  # fmt: skip


_PAGES: Mapping[str, Callable[[Brand], tuple[str, dict[str, Any]]]] = {
    "sign_in": _sign_in, "consent": _consent, "error": _error,
}  # fmt: skip
