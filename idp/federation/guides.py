"""What to do at each provider before it is added here: where to click, and what to copy in which direction.

The console, ``idp upstreams guide`` and docs/upstreams.md show this table.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from idp.federation import providers
from idp.settings import settings

#: Placeholders of a step.
REDIRECT_URI, LOGOUT_URI, ISSUER, HOST = "{redirect_uri}", "{logout_uri}", "{issuer}", "{host}"
#: The id in the URLs of an upstream that has none yet.
UNNAMED = "ID"


class Step(msgspec.Struct, frozen=True):
    """One step.

    Attributes:
        where: where to click at the provider, or the name of a field or value there.
        what: what to do or to choose, or what to enter there.
        url: whether ``what`` is a URL to copy.
    """

    where: str
    what: str
    url: bool = False


class Guide(msgspec.Struct, frozen=True):
    """How to add a provider.

    Attributes:
        label: the name of the provider.
        kind: the kind of upstream.
        steps: what to do there, in order.
        values: the configuration that it begins with, in addition to the defaults of its kind.
    """

    label: str
    kind: str
    steps: tuple[Step, ...]
    values: Mapping[str, Any] = {}

    def defaults(self) -> dict[str, Any]:
        """Return the configuration that the form begins with."""
        return {**providers.KINDS[self.kind].DEFAULTS, **self.values}


def _redirect(where: str) -> Step:
    return Step(where, REDIRECT_URI, url=True)


_LOGOUT = Step("Back-channel logout URI, if it has one", LOGOUT_URI, url=True)

#: By the name in URLs, which is also the first id.
GUIDES: dict[str, Guide] = {
    "google": Guide(
        "Google", "google",
        (
            Step("Google Cloud console, APIs & Services, OAuth consent screen", "Set up the application once."),
            Step("APIs & Services, Credentials, Create credentials", "Choose OAuth client ID, then Web application."),
            _redirect("Authorised redirect URIs"),
            Step("Client ID and Client secret", "Copy both here. The secret is shown once."),
        ),
    ),
    "github": Guide(
        "GitHub", "github",
        (
            Step("Settings of your account or organization, Developer settings, OAuth Apps", "New OAuth app."),
            Step("Homepage URL", ISSUER, url=True),
            _redirect("Authorization callback URL"),
            Step("Client ID; Generate a new client secret", "Copy both here. The secret is shown once."),
        ),
    ),
    "microsoft": Guide(
        "Microsoft", "microsoft",
        (
            Step("Microsoft Entra admin center, App registrations", "New registration."),
            Step("Supported account types", "Single tenant for your organisation, otherwise multitenant."),
            _redirect("Redirect URI, of the type Web"),
            Step("Overview, Application (client) ID", "Copy it here as the client id."),
            Step(
                "Overview, Directory (tenant) ID",
                "For a single tenant, the issuer here is https://login.microsoftonline.com/TENANT/v2.0.",
            ),
            Step("Certificates & secrets, New client secret", "Copy its Value here, not its Secret ID. Note its end."),
        ),
    ),
    "apple": Guide(
        "Apple", "apple",
        (
            Step("Certificates, Identifiers & Profiles, Identifiers", "Register an App ID with Sign in with Apple."),
            Step("Identifiers, Services IDs", "Register one. Its identifier is the client id here."),
            Step("The Services ID, Sign in with Apple, Configure, Domains", HOST, url=True),
            _redirect("Return URLs"),
            Step("Keys", "Register a key with Sign in with Apple. Download it once: it is the private key here."),
            Step("The key, Key ID; Membership details, Team ID", "Copy both here."),
        ),
    ),
    "gitlab": Guide(
        "GitLab", "oidc",
        (
            Step("Your profile, a group or the Admin area: Applications", "Add new application."),
            _redirect("Redirect URI"),
            Step("Confidential", "Yes."),
            Step("Scopes", "openid, profile, email."),
            Step("Application ID and Secret", "Copy both here as client id and client secret."),
            Step("The URL of your own GitLab", "Enter it here as the issuer, if it is not gitlab.com."),
        ),
        {"name": "GitLab", "issuer": "https://gitlab.com"},
    ),
    "keycloak": Guide(
        "Keycloak", "oidc",
        (
            Step("Your realm, Clients, Create client", "OpenID Connect; Client authentication on; Standard flow."),
            _redirect("Valid redirect URIs"),
            Step("The client, Settings, Backchannel logout URL", LOGOUT_URI, url=True),
            Step("The client, Credentials, Client secret", "Copy it here, and the client id."),
            Step("Issuer", "https://HOST/realms/REALM"),
        ),
        {"name": "Keycloak"},
    ),
    "okta": Guide(
        "Okta", "oidc",
        (
            Step("Applications, Create app integration", "OIDC, then Web application; grant type Authorization Code."),
            _redirect("Sign-in redirect URIs"),
            Step("General, Client ID and Client secrets", "Copy both here."),
            Step("Issuer", "https://YOUR-ORGANISATION.okta.com"),
        ),
        {"name": "Okta"},
    ),
    "oidc": Guide(
        "Another OpenID provider", "oidc",
        (
            Step("Its administration", "Register a web application, or confidential client, with the code flow."),
            _redirect("Redirect URI"),
            _LOGOUT,
            Step("Client id and client secret", "Copy both here."),
            Step("Issuer", "Its metadata is at ISSUER/.well-known/openid-configuration."),
        ),
    ),
    "ldap": Guide(
        "LDAP directory", "ldap",
        (
            Step("The directory", "Create an account that may only search, and no redirect URI: users sign in here."),
            Step("Its DN and password", "Enter them here as bind DN and password."),
            Step("Base DN of the users", "Enter it here, such as ou=people,dc=example,dc=com."),
            Step("The CA of its certificate", "Enter it here as PEM, if it is not a public one."),
        ),
    ),
}  # fmt: skip

#: Kinds as people write them.
KIND_LABELS = {guide.kind: guide.label for name, guide in GUIDES.items() if name == guide.kind} | {
    "oidc": "OpenID provider"
}


def steps(guide: Guide, upstream_id: str) -> list[Step]:
    """Return the steps of a guide with the URLs of an upstream."""
    issuer = settings().issuer
    values = {
        REDIRECT_URI: f"{issuer}/upstreams/{upstream_id}/callback",
        LOGOUT_URI: f"{issuer}/upstreams/{upstream_id}/backchannel-logout",
        ISSUER: issuer,
        HOST: urlsplit(issuer).hostname or "",
    }
    return [msgspec.structs.replace(step, what=values.get(step.what, step.what)) for step in guide.steps]
