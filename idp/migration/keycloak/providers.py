"""Identity providers and directories of a realm become upstreams."""

import re
from typing import Any, Final

from idp.migration import secrets
from idp.migration.keycloak.representations import IdentityProvider, Realm
from idp.migration.models import Export

#: Kinds here, with the issuer of the identities of users. None: that of the configuration.
KINDS: Final[dict[str, tuple[str, str | None]]] = {
    "google": ("google", "https://accounts.google.com"),
    "github": ("github", "https://github.com"),
    # Only the identities of users: its configuration has other parts there.
    "apple": ("", "https://appleid.apple.com"),
    "oidc": ("oidc", None),
    "keycloak-oidc": ("oidc", None),
}
_STORAGE: Final = "org.keycloak.storage.UserStorageProvider"


def translate(export: Export, realm: Realm) -> dict[str, tuple[str, str]]:
    """Add the upstreams. Returns the issuer and the id here by alias, for the identities of users."""
    found: dict[str, tuple[str, str]] = {}
    for provider in realm.identity_providers:
        what = f"identity provider {provider.alias}"
        kind, issuer = KINDS.get(provider.provider_id, ("", None))
        issuer = issuer or (provider.text("issuer") if kind else None)
        upstream = re.sub(r"[^a-z0-9]+", "-", provider.alias.lower()).strip("-")[:31]
        if issuer:
            found[provider.alias] = (issuer, upstream)
        if not issuer or not kind:
            export.skip(what, f"The kind {provider.provider_id} is not translated: docs/upstreams.md.")
            continue
        entry: dict[str, Any] = {"id": upstream, "kind": kind} | ({"issuer": issuer} if kind == "oidc" else {})
        export.add("upstreams", entry | _options(export, what, provider, upstream))
        export.todo(what, f"Register the redirect URI of this server there: …/upstreams/{upstream}/callback")
    for directory in realm.components.get(_STORAGE, []):
        export.skip(f"user storage {directory.name}", "Add it as an upstream of the kind ldap: docs/ldap.md.")
    return found


def _options(export: Export, what: str, provider: IdentityProvider, upstream: str) -> dict[str, Any]:
    named, reference = secrets.reference(export, "upstreams", upstream, provider.text("clientSecret"))
    if reference is None:
        export.todo(
            what, f"It is disabled, because its secret is not in the export. Set it in the environment: {named}"
        )
    entry: dict[str, Any] = {
        "name": provider.display_name or provider.alias,
        "client_id": provider.text("clientId"),
        "client_secret": reference,
        "trust_email": provider.trust_email,
        "disabled": not provider.enabled or reference is None,
    }
    if scope := provider.text("defaultScope"):
        entry["scope"] = scope
    if hosted := provider.text("hostedDomain"):
        entry["required_claims"] = {"hd": hosted.split(",")}
    return entry
