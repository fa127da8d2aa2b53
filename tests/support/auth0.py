"""Exports of an Auth0 tenant: an export job of users, hashes from the support, the Deploy CLI, the Management API."""

import gzip
import json
from pathlib import Path
from typing import Any

import bcrypt

from tests.support.oauth import PASSWORD

ADA, BOB, EVE = "auth0|5f7c8ec7c33c6c004bbafe82", "google-oauth2|117233456789012345678", "auth0|euclid"
CLIENT_ID, CLIENT_SECRET = "xYz0123456789AbCdEfGhIjKlMnOpQr1", "s" * 64
API = "https://api.acme.example/"
TENANT = """
tenant:
  friendly_name: Acme
  session_lifetime: 168
  idle_session_lifetime: 72
clients:
  - name: Old
    app_type: regular_web
    callbacks: ["https://old.example/cb"]
    grant_types: [authorization_code]
resourceServers:
  - name: Orders
    identifier: https://api.acme.example/
    scopes: [{value: "orders:read", description: Read}, {value: "orders:write"}]
    signing_alg: RS256
    token_dialect: access_token
  - {name: Management, identifier: https://acme.auth0.example/api/v2/, is_system: true}
clientGrants:
  - {client_id: Wiki, audience: https://api.acme.example/, scope: ["orders:read"]}
roles:
  - name: editor
    description: Edits
    permissions: [{permission_name: "orders:write", resource_server_identifier: https://api.acme.example/}]
connections:
  - {name: google-oauth2, strategy: google-oauth2, options: {client_id: g, client_secret: of google, scope: [email]}}
  - {name: corp_okta, strategy: okta, options: {client_id: o, client_secret: of okta, domain: acme.okta.example}}
  - {name: adfs, strategy: samlp, options: {}}
databases: [{name: Username-Password-Authentication, strategy: auth0}]
organizations: [{name: partner, display_name: Partner GmbH}]
actions: [{name: add-roles, code: ./actions/add-roles/code.js}]
"""


def client(name: str, **changes: Any) -> dict[str, Any]:
    """Return a client as the Management API lists it."""
    return {
        "name": name, "tenant": "acme", "global": False, "is_first_party": True, "oidc_conformant": True,
        "client_id": f"id-of-{name}", "client_secret": CLIENT_SECRET, "app_type": "regular_web", "callbacks": [],
        "grant_types": ["authorization_code", "refresh_token"], "token_endpoint_auth_method": "client_secret_post",
        "jwt_configuration": {"alg": "RS256", "lifetime_in_seconds": 36000},
    } | changes  # fmt: skip


CLIENTS = [
    client("Wiki", client_id=CLIENT_ID, callbacks=["https://wiki.example/callback"], initiate_login_uri=None,
           allowed_logout_urls=["https://wiki.example/"],
           oidc_logout={"backchannel_logout_urls": ["https://wiki.example/back"]}),
    client("Single page", client_id="spa", app_type="spa", token_endpoint_auth_method="none",
           callbacks=["https://spa.example/", "https://*.spa.example/"],
           grant_types=["authorization_code", "implicit", "password", "refresh_token"]),
    client("Machine", app_type="non_interactive", grant_types=["client_credentials"]),
]  # fmt: skip


def user(user_id: str, email: str, **changes: Any) -> dict[str, Any]:
    provider, _, number = user_id.partition("|")
    return {
        "user_id": user_id, "email": email, "email_verified": True, "name": email, "nickname": "ada",
        "picture": "https://s.gravatar.example/a", "created_at": "2020-10-06T12:00:00.000Z", "blocked": False,
        "identities": [{"user_id": number, "provider": provider, "connection": "x", "isSocial": provider != "auth0"}],
    } | changes  # fmt: skip


def write(folder: Path, domain: str) -> list[str]:
    """Write the files into a folder. Returns the options of `idp migrate auth0`."""
    users = [
        user(ADA, f"ada@{domain}", name="Ada Lovelace", app_metadata={"team": "blue", "teams": ["a", "b"], "plan": {}},
             user_metadata={"shoe": 42}, multifactor=["guardian"]),
        user(BOB, f"bob@{domain}", blocked=True),
        user(EVE, f"eve@{domain}"),
    ]  # fmt: skip
    with gzip.open(folder / "users.json.gz", "wt") as file:
        file.writelines(f"{json.dumps(one)}\n" for one in users)
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    hashes = [{"_id": {"$oid": ADA.removeprefix("auth0|")}, "email": f"ada@{domain}", "passwordHash": hashed},
              {"_id": {"$oid": "5dea9f9c82dd7c0e76e4ec93"}, "alt_id": "euclid", "passwordHash": hashed}]  # fmt: skip
    (folder / "hashes.json").write_text("".join(f"{json.dumps(one)}\n" for one in hashes))
    members = [{"user_id": ADA, "role": "editor"}, {"user_id": ADA, "organization": "partner"}]
    (folder / "members.json").write_text("".join(f"{json.dumps(one)}\n" for one in members))
    (folder / "tenant.yaml").write_text(TENANT)
    (folder / "clients.json").write_text(json.dumps(CLIENTS))
    files = {"users": "users.json.gz", "hashes": "hashes.json", "memberships": "members.json"}
    files |= {"tenant": "tenant.yaml", "clients": "clients.json"}
    attributes = ["--attribute", "app_metadata.team=team", "--attribute", "app_metadata.teams=teams[]"]
    return [text for name, file in files.items() for text in (f"--{name}", file)] + attributes
