"""Clients whose registration is dangerous or about to fail."""

import base64
import difflib
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import urlsplit

from cryptography import x509

from idp import clock
from idp.accounts.attributes.repository import attributes
from idp.doctor.models import Context, Finding, Findings, error, note, ok, warning
from idp.oauth.claims.repository import mappings
from idp.oauth.clients import repository
from idp.oauth.clients.models import StoredClient
from idp.oauth.clients.registry import registry
from idp.oauth.scopes import ORGANIZATION, STANDARD_SCOPES
from idp.settings import DAY, Settings

#: Seconds before the end of a secret at which there is a warning.
SOON = 14 * DAY
#: Findings of one kind that are shown.
SHOWN = 20
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


async def check(context: Context) -> Findings:
    """Look at the registration of every enabled client."""
    clients, scopes = [client for client in await repository.clients() if client.disabled_at is None], await _scopes()
    found = [finding for client in clients for finding in _findings(client, context.settings, scopes)]
    shown: dict[str, int] = {}
    for finding in found:
        shown[finding.name] = shown.get(finding.name, 0) + 1
        if shown[finding.name] <= SHOWN:
            yield finding
    if not found:
        yield ok(f"{len(clients)} clients are registered as they should be.")


async def _scopes() -> set[str]:
    """Return the scopes that are defined: by the standard, resource servers, claim mappings and attributes."""
    found = {*STANDARD_SCOPES, ORGANIZATION, *registry.builtin_scopes}
    found.update(*(server.scopes for server in await repository.resource_servers()))
    found.update(mapping.scope for mapping in await mappings() if mapping.scope is not None)
    return found.union(attribute.scope for attribute in await attributes() if attribute.scope is not None)


async def undefined_scopes(client: StoredClient) -> list[Finding]:
    """Return a note for each scope of a client that nothing defines."""
    return list(_undefined(client, await _scopes()))


def _undefined(client: StoredClient, scopes: set[str]) -> Iterator[Finding]:
    for scope in sorted(client.scopes - scopes):
        near = difflib.get_close_matches(scope, sorted(scopes), n=1)
        yield note(
            "scope_undefined",
            f"The {_name(client)} may request {scope}, which no resource server defines, so its tokens are for this "
            f"server alone.{f' Is {near[0]} meant?' if near else ''}",
            f"Change it: idp clients update {client.client_id} --scope … Or register the resource server of it.",
        )


def _findings(client: StoredClient, settings: Settings, scopes: set[str]) -> Iterator[Finding]:
    yield from _undefined(client, scopes)
    yield from _secrets(client)
    yield from _certificates(client)
    yield from _redirects(client, settings)
    yield from _requirements(client)


def _secrets(client: StoredClient) -> Iterator[Finding]:
    """The newest secret: the one before is meant to expire."""
    until = client.client_secret_expires_at
    if client.client_secret_hash is None or until is None or not client.has_secret:
        return
    left = until - clock.now()
    mend = f"Run: idp clients rotate-secret {client.client_id} --overlap 7d"
    if left < timedelta():
        yield error(
            "client_secret_expired", f"The secret of the {_name(client)} expired on {until:%Y-%m-%d}.", mend
        )  # fmt: skip
    elif left < timedelta(seconds=SOON):
        yield warning(
            "client_secret_expires", f"The secret of the {_name(client)} expires on {until:%Y-%m-%d}.", mend
        )  # fmt: skip


def _certificates(client: StoredClient) -> Iterator[Finding]:
    """Certificates that a client registered to authenticate with (RFC 8705 section 2.2)."""
    if client.token_endpoint_auth_method != "self_signed_tls_client_auth":
        return
    for key in (client.jwks or {}).get("keys", ()):
        for text in key.get("x5c", ())[:1]:
            try:
                until = x509.load_der_x509_certificate(base64.b64decode(text)).not_valid_after_utc
            except ValueError:
                continue
            if until - clock.now() < timedelta(seconds=SOON):
                level = error if until < clock.now() else warning
                yield level(
                    "client_certificate_expires",
                    f"A certificate of the {_name(client)} {'expired' if level is error else 'expires'} on "
                    f"{until:%Y-%m-%d}.",
                    f"Register its successor beside it: idp clients update {client.client_id} --jwks …",
                )


def _redirects(client: StoredClient, settings: Settings) -> Iterator[Finding]:
    change = f"Change them: idp clients update {client.client_id} --redirect-uri …"
    for uri in client.redirect_uris:
        parts = urlsplit(uri)
        if parts.scheme != "http":
            continue
        if parts.hostname not in _LOOPBACK:
            yield error(
                "redirect_without_https",
                f"The {_name(client)} gets codes at {uri}, without encryption.",
                change,
            )
        elif client.application_type == "web" and settings.issuer.startswith("https://"):
            yield note(
                "redirect_to_loopback",
                f"The {_name(client)} is a web application and gets codes at {uri}, on the machine of the user.",
                f"Remove it when the development is over. {change}",
            )


def _requirements(client: StoredClient) -> Iterator[Finding]:
    update = f"idp clients update {client.client_id}"
    if not client.require_pkce and client.redirect_uris:
        yield warning(
            "pkce_not_required",
            f"The {_name(client)} may request codes without PKCE, so a stolen code can be used.",
            f"When it sends code_challenge, run: {update} --pkce",
        )
    if client.admin_role is not None and client.client_secret_hash is not None and client.has_secret:
        yield note(
            "administrator_with_secret",
            f"The {_name(client)} administers this server ({client.admin_role}) with a shared secret.",
            f"Let it authenticate with private_key_jwt: {update} --auth-method private_key_jwt",
        )


def _name(client: StoredClient) -> str:
    return f"client {client.client_name} ({client.client_id})"
