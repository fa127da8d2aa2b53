"""Whether a redirect URI is one of a client's."""

import re

from idp.oauth.clients.registry import Client

_LOOPBACK = re.compile(r"(http://(?:127\.0\.0\.1|\[::1\]))(?::([1-9][0-9]{0,4}))?((?:[/?].*)?)", re.DOTALL)


def matches(client: Client, redirect_uri: str) -> bool:
    """Whether the URI is registered: the same string, byte for byte (RFC 9700 section 2.1).

    But a native client takes whatever port the system gives it on the loopback interface (RFC 8252 section 7.3).
    """
    if redirect_uri in client.redirect_uris:
        return True
    if client.application_type != "native":
        return False
    asked = _without_port(redirect_uri)
    return asked is not None and any(asked == _without_port(uri) for uri in client.redirect_uris)


def _without_port(uri: str) -> str | None:
    """A loopback URI less its port; None of any other."""
    found = _LOOPBACK.fullmatch(uri)
    if found is None or int(found[2] or 1) > 65535:
        return None
    return found[1] + found[3]
