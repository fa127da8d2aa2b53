"""Which icon a provider has on pages. The shapes are in ``templates/providers.html``."""

from urllib.parse import urlsplit

#: Icons by the host of the issuer, which may be below it, as the tenants of some services are.
_HOSTS = {
    "accounts.google.com": "google",
    "login.microsoftonline.com": "microsoft",
    "login.live.com": "microsoft",
    "appleid.apple.com": "apple",
    "gitlab.com": "gitlab",
    "okta.com": "okta",
    "auth0.com": "auth0",
    "facebook.com": "facebook",
    "linkedin.com": "linkedin",
    "slack.com": "slack",
    "line.me": "line",
    "twitch.tv": "twitch",
    "codeberg.org": "codeberg",
}


def icon_names(kind: str, issuer: str, id: str) -> tuple[str, ...]:
    """Return the names of the icons that a provider can have, the best one first.

    They are the kind, the service that its issuer is part of, the program that its issuer looks like, and the id, which
    the operator chose.
    """
    url = urlsplit(issuer)
    host = url.hostname or ""
    services = [icon for known, icon in _HOSTS.items() if host == known or host.endswith(f".{known}")]
    programs = ["keycloak"] if "/realms/" in url.path else []
    return (kind, *services, *programs, id)
