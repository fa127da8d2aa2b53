"""Matching redirect URIs against those that a client registered."""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from idp.infra.i18n import gettext as _
from idp.oauth.clients.models import Client

_LOOPBACK = re.compile(r"(http://(?:localhost|127\.0\.0\.1|\[::1\]))(?::([1-9][0-9]{0,4}))?((?:[/?].*)?)", re.DOTALL)


def matches(client: Client, redirect_uri: str) -> bool:
    """Return whether an authorization response may be sent to this URI."""
    return _is_one_of(client, redirect_uri, client.redirect_uris)


def matches_post_logout(client: Client, uri: str) -> bool:
    """Return whether a browser may be redirected to this URI after a log-out."""
    return _is_one_of(client, uri, client.post_logout_redirect_uris)


def destination(redirect_uri: str) -> str:
    """Return a sentence that tells where the browser goes after consent: a site, a local program, or an app."""
    parts = urlsplit(redirect_uri)
    if parts.scheme not in ("https", "http"):
        app = f"{parts.scheme}://{parts.netloc}" if parts.netloc else f"{parts.scheme}:"
        return _(
            "This device then opens the app for addresses that begin with %(app)s."
            " Allow this only if you came from that app.",
            app=app,
        )
    if is_loopback(redirect_uri):
        return _("You then return to a program on this device. Allow this only if you started it yourself.")
    return _("You then return to %(site)s.", site=parts.netloc)


def is_loopback(redirect_uri: str) -> bool:
    """Return whether a redirect URI leads to whichever program of this device listens at a port."""
    return _LOOPBACK.fullmatch(redirect_uri) is not None


def _is_one_of(client: Client, uri: str, registered: Iterable[str]) -> bool:
    """Return whether the URI is registered, by exact string comparison (RFC 9700 section 2.1).

    For a native client the port of a loopback URI is ignored (RFC 8252 section 7.3), with an address or with localhost,
    which many clients register (section 8.3 only advises against it).
    """
    if uri in registered:
        return True
    if client.application_type != "native":
        return False
    asked = _without_port(uri)
    return asked is not None and any(asked == _without_port(known) for known in registered)


def _without_port(uri: str) -> str | None:
    """Return a loopback URI without its port; None for any other URI."""
    found = _LOOPBACK.fullmatch(uri)
    if found is None or int(found[2] or 1) > 65535:
        return None
    return found[1] + found[3]
