"""Exports of a Keycloak realm, in the structure of ``kc.sh export`` of version 26."""

import hashlib
import json
from base64 import b64encode
from pathlib import Path
from typing import Any

from argon2.low_level import Type, hash_secret_raw

from tests.support.oauth import PASSWORD

#: The secret of an authenticator app, as Keycloak makes it: its bytes are those of the text.
APP_SECRET = "aVerySecretKey123456"
CLIENT_SECRET = "n3vXTgYdPcM0bKq8sLwZr5AhEuJ2fViC"
SALT = bytes(range(16))
ADA, BOB, EVE = (f"{digit * 8}-1111-4222-8333-444444444444" for digit in "abe")


def password(algorithm: str, text: str = PASSWORD) -> dict[str, Any]:
    """Return a credential with a password."""
    if algorithm == "argon2":
        digest = hash_secret_raw(
            text.encode(), SALT, time_cost=5, memory_cost=7168, parallelism=1, hash_len=32, type=Type.ID
        )
        iterations = 5
        more = {"hashLength": ["32"], "memory": ["7168"], "type": ["id"], "version": ["1.3"], "parallelism": ["1"]}
    else:
        name = {"pbkdf2": "sha1"}.get(algorithm, algorithm.removeprefix("pbkdf2-"))
        iterations, more = 1000, {}
        digest = hashlib.pbkdf2_hmac(name, text.encode(), SALT, iterations, hashlib.new(name).digest_size)
    stored = {"value": b64encode(digest).decode(), "salt": b64encode(SALT).decode(), "additionalParameters": {}}
    how = {"hashIterations": iterations, "algorithm": algorithm, "additionalParameters": more}
    return {"type": "password", "secretData": json.dumps(stored), "credentialData": json.dumps(how)}


def app(**changes: Any) -> dict[str, Any]:
    """Return a credential with an authenticator app."""
    how = {"subType": "totp", "digits": 6, "counter": 0, "period": 30, "algorithm": "HmacSHA1"} | changes
    stored = {"value": APP_SECRET}
    return {"type": "otp", "secretData": json.dumps(stored), "credentialData": json.dumps(how)}


def user(id: str, name: str, domain: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": id, "username": name, "firstName": name.title(), "lastName": "Example", "email": f"{name}@{domain}",
        "emailVerified": True, "createdTimestamp": 1700000000000, "enabled": True, "totp": False, "credentials": [],
        "disableableCredentialTypes": [], "requiredActions": [], "notBefore": 0, "groups": [],
        "realmRoles": ["default-roles-acme"],
    } | changes  # fmt: skip


def mapper(name: str, kind: str, **config: str) -> dict[str, Any]:
    places = {"id.token.claim": "true", "access.token.claim": "true", "userinfo.token.claim": "true"}
    return {
        "id": f"id-of-{name}", "name": name, "protocol": "openid-connect", "protocolMapper": kind,
        "consentRequired": False, "config": places | {key.replace("__", "."): value for key, value in config.items()},
    }  # fmt: skip


def client(client_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"id-of-{client_id}", "clientId": client_id, "name": "", "description": "", "rootUrl": "", "baseUrl": "",
        "surrogateAuthRequired": False, "enabled": True, "alwaysDisplayInConsole": False,
        "clientAuthenticatorType": "client-secret", "redirectUris": [], "webOrigins": [], "notBefore": 0,
        "bearerOnly": False, "consentRequired": False, "standardFlowEnabled": True, "implicitFlowEnabled": False,
        "directAccessGrantsEnabled": False, "serviceAccountsEnabled": False, "publicClient": False,
        "frontchannelLogout": True, "protocol": "openid-connect", "attributes": {}, "fullScopeAllowed": True,
        "authenticationFlowBindingOverrides": {}, "nodeReRegistrationTimeout": -1,
        "defaultClientScopes": ["web-origins", "acr", "profile", "roles", "basic", "email"],
        "optionalClientScopes": ["address", "phone", "offline_access", "microprofile-jwt", "organization"],
    } | changes  # fmt: skip


def realm(domain: str) -> dict[str, Any]:
    """Return a realm with what is translated, and what is not."""
    wiki = client(
        "wiki", name="Wiki", secret=CLIENT_SECRET, redirectUris=["https://wiki.example/callback"],
        attributes={"post.logout.redirect.uris": "+", "backchannel.logout.url": "https://wiki.example/back",
                    "backchannel.logout.session.required": "true", "pkce.code.challenge.method": "S256"},
        defaultClientScopes=["web-origins", "acr", "profile", "roles", "basic", "email", "work"],
        protocolMappers=[
            mapper("groups", "oidc-group-membership-mapper", full__path="false", claim__name="teams"),
            mapper("paths", "oidc-group-membership-mapper", full__path="true", claim__name="paths"),
            mapper("site", "oidc-hardcoded-claim-mapper", claim__name="site", claim__value="berlin",
                   jsonType__label="String"),
            mapper("audience", "oidc-audience-mapper", included__client__audience="orders-api"),
        ],
    )  # fmt: skip
    spa = client(
        "spa",
        publicClient=True,
        rootUrl="https://spa.example",
        redirectUris=["/callback", "/*"],
        webOrigins=["+", "https://spa.example", "https://other.example"],
    )
    legacy = client(
        "legacy", secret=CLIENT_SECRET, redirectUris=["https://legacy.example/*", "http://*"],
        directAccessGrantsEnabled=True, implicitFlowEnabled=True,
    )  # fmt: skip
    masked = client("masked", secret="**********", redirectUris=["https://masked.example/callback"])
    short = client("short", secret="as-of-old", redirectUris=["https://short.example/callback"])
    worker = client(
        "worker", secret=CLIENT_SECRET, standardFlowEnabled=False, serviceAccountsEnabled=True, frontchannelLogout=False
    )
    api = client("orders-api", secret=CLIENT_SECRET, bearerOnly=True, standardFlowEnabled=False)
    saml = client("old-saml", protocol="saml", redirectUris=["https://saml.example/acs"])
    built_in = [client(name, publicClient=True) for name in ("account", "account-console", "admin-cli", "broker")]
    role_claims = {"introspection__token__claim": "true", "multivalued": "true", "jsonType__label": "String"}
    roles_scope = [
        mapper("realm roles", "oidc-usermodel-realm-role-mapper", claim__name="realm_access.roles", **role_claims),
        mapper("client roles", "oidc-usermodel-client-role-mapper",
               claim__name="resource_access.${client_id}.roles", **role_claims),
        mapper("audience resolve", "oidc-audience-resolve-mapper"),
    ]  # fmt: skip
    for one in roles_scope:
        one["config"] |= {"id.token.claim": "false", "userinfo.token.claim": "false"}
    profile = {
        "attributes": [
            {"name": "username"}, {"name": "email"},
            {"name": "costCenter", "displayName": "Cost centre", "multivalued": False,
             "permissions": {"view": ["admin", "user"], "edit": ["admin"]}},
        ]
    }  # fmt: skip
    return {
        "id": "9c3b", "realm": "acme", "displayName": "Acme", "enabled": True, "accessTokenLifespan": 300,
        "ssoSessionIdleTimeout": 1800, "ssoSessionMaxLifespan": 36000, "registrationAllowed": False,
        "bruteForceProtected": True, "passwordPolicy": "length(12) and passwordHistory(3)",
        "webAuthnPolicyRpId": "id.acme.example", "defaultSignatureAlgorithm": "RS256",
        "smtpServer": {"host": "mail.acme.example", "port": "587", "from": "id@acme.example", "user": "id",
                       "password": "**********", "starttls": "true", "auth": "true"},
        "roles": {
            "realm": [
                {"name": "default-roles-acme", "description": "${role_default-roles}", "composite": True,
                 "composites": {"realm": ["offline_access", "uma_authorization"],
                                "client": {"account": ["view-profile"]}}},
                {"name": "offline_access"}, {"name": "uma_authorization"},
                {"name": "auditor", "description": "Reads everything", "composite": True,
                 "composites": {"client": {"wiki": ["reader"]}}},
            ],
            "client": {"wiki": [{"name": "reader"}, {"name": "editor", "composite": True,
                                                     "composites": {"client": {"wiki": ["reader"]}}}],
                       "account": [{"name": "view-profile"}], "legacy": [{"name": "boss"}]},
        },
        "groups": [
            {"name": "Staff", "path": "/Staff", "attributes": {"floor": ["2"]}, "realmRoles": [], "clientRoles": {},
             "subGroups": [{"name": "Writers", "path": "/Staff/Writers", "realmRoles": [],
                            "clientRoles": {"wiki": ["editor"]}, "subGroups": []},
                           {"name": "Guests", "path": "/Staff/Guests", "subGroups": []}]},
            {"name": "Guests", "path": "/Guests", "realmRoles": ["auditor"], "subGroups": []},
        ],
        "clients": [*built_in, wiki, spa, legacy, masked, short, worker, api, saml],
        "clientScopes": [
            {"name": "roles", "protocol": "openid-connect", "protocolMappers": roles_scope},
            {"name": "work", "protocol": "openid-connect", "protocolMappers": [
                mapper("cost", "oidc-usermodel-attribute-mapper", user__attribute="costCenter",
                       claim__name="cost_center", jsonType__label="String"),
                mapper("nested", "oidc-usermodel-attribute-mapper", user__attribute="costCenter",
                       claim__name="org.cost", jsonType__label="String")]},
            {"name": "profile", "protocol": "openid-connect", "protocolMappers": [
                mapper("full name", "oidc-full-name-mapper"),
                mapper("username", "oidc-usermodel-attribute-mapper", user__attribute="username",
                       claim__name="preferred_username"),
                mapper("locale", "oidc-usermodel-attribute-mapper", user__attribute="locale", claim__name="locale")]},
            {"name": "email", "protocol": "openid-connect", "protocolMappers": []},
            {"name": "basic", "protocol": "openid-connect", "protocolMappers": [
                mapper("auth_time", "oidc-usersessionmodel-note-mapper", claim__name="auth_time"),
                mapper("sub", "oidc-sub-mapper")]},
        ],
        "identityProviders": [
            {"alias": "google", "providerId": "google", "enabled": True, "trustEmail": True,
             "config": {"clientId": "acme.apps", "clientSecret": "**********"}},
            {"alias": "Partner", "displayName": "Partner", "providerId": "oidc", "enabled": True,
             "config": {"clientId": "acme", "clientSecret": "a-secret-of-the-partner", "issuer": "https://id.partner.example",
                        "defaultScope": "openid email"}},
            {"alias": "adfs", "providerId": "saml", "enabled": True, "config": {}},
        ],
        "organizations": [{"name": "Partner", "alias": "partner", "enabled": True,
                           "domains": [{"name": f"partner.{domain}", "verified": True}],
                           "members": [{"username": "bob", "membershipType": "UNMANAGED"}]}],
        "components": {
            "org.keycloak.userprofile.UserProfileProvider": [
                {"providerId": "declarative-user-profile",
                 "config": {"kc.user.profile.config": [json.dumps(profile)]}}],
            "org.keycloak.storage.UserStorageProvider": [{"name": "ad", "providerId": "ldap", "config": {}}],
        },
        "keycloakVersion": "26.3.2",
    }  # fmt: skip


def people(domain: str, algorithm: str = "argon2") -> list[dict[str, Any]]:
    """Return the users of the realm: ADA, BOB, EVE and the account of a client."""
    ada = user(
        ADA, "ada", domain, credentials=[password(algorithm), app()], groups=["/Staff/Writers"],
        realmRoles=["default-roles-acme", "auditor"], clientRoles={"wiki": ["editor"], "account": ["view-profile"]},
        attributes={"costCenter": ["4711"], "locale": ["de"], "shoe": ["42"]},
        federatedIdentities=[{"identityProvider": "google", "userId": "117233456789012345678", "userName": "ada"},
                             {"identityProvider": "adfs", "userId": "x", "userName": "x"}],
        requiredActions=["UPDATE_PASSWORD"],
    )  # fmt: skip
    bob = user(BOB, "bob", domain, enabled=False, credentials=[app(digits=8), {"type": "webauthn-passwordless"}])
    eve = user(EVE, "eve", domain, emailVerified=False, credentials=[password("pbkdf2-sha256")])
    account = user("c" * 8 + ADA[8:], "service-account-worker", domain, serviceAccountClientId="worker")
    return [ada, bob, eve, account]


def write(folder: Path, domain: str, algorithm: str = "argon2") -> Path:
    """Write the export into a folder, with the users in two files. Returns the folder."""
    folder.mkdir(exist_ok=True)
    first, *others = people(domain, algorithm)
    (folder / "acme-realm.json").write_text(json.dumps(realm(domain), indent=2))
    (folder / "acme-users-0.json").write_text(json.dumps({"realm": "acme", "users": [first]}))
    (folder / "acme-users-1.json").write_text(json.dumps({"realm": "acme", "users": others}))
    return folder
