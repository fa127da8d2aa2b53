"""Programs that do not run here: what the console prints for them is read as they read it, and agrees with discovery,
with the client's registration, and with what the server demands.
"""

import configparser
import re
import shlex
import tomllib
from typing import Any

import pytest

from tests.clients.conftest import of_client, of_resource_server
from tests.conftest import MakeClient
from tests.support.oauth import RelyingParty
from tests.support.server import Server

pytestmark = pytest.mark.fault(33)


@pytest.fixture
async def discovery(server: Server, client: RelyingParty) -> dict[str, Any]:
    found: dict[str, Any] = (await client.http.get(f"{server.issuer}/.well-known/openid-configuration")).json()
    assert "S256" in found["code_challenge_methods_supported"]
    return found


async def test_oauth2_proxy(client: RelyingParty, discovery: dict[str, Any]) -> None:
    """Its configuration file is TOML. Without the method it sends no PKCE, and is refused."""
    config = tomllib.loads((await of_client(client))["oauth2-proxy"])
    assert config["provider"] == "oidc"
    assert config["oidc_issuer_url"] == discovery["issuer"]
    assert (config["client_id"], config["client_secret"]) == (client.client_id, client.client_secret)
    assert config["redirect_url"] == client.redirect_uri
    assert config["scope"] == client.scope
    assert config["code_challenge_method"] in discovery["code_challenge_methods_supported"]
    assert config["email_domains"] == ["*"]


async def test_grafana(client: RelyingParty, discovery: dict[str, Any]) -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string((await of_client(client))["Grafana"])
    config = parser["auth.generic_oauth"]
    assert config.getboolean("enabled")
    assert config.getboolean("use_pkce")
    assert config["auth_url"] == discovery["authorization_endpoint"]
    assert config["token_url"] == discovery["token_endpoint"]
    assert config["api_url"] == discovery["userinfo_endpoint"]
    assert (config["client_id"], config["client_secret"]) == (client.client_id, client.client_secret)
    assert config["scopes"] == client.scope
    paths = re.findall(r"\w+", config["email_attribute_path"] + " " + config["name_attribute_path"])
    assert set(paths) <= set(discovery["claims_supported"])


async def test_mozilla_django_oidc(client: RelyingParty, discovery: dict[str, Any]) -> None:
    settings: dict[str, Any] = {}
    exec((await of_client(client))["Django: mozilla-django-oidc"], settings)
    assert settings["OIDC_USE_PKCE"] is True
    assert settings["OIDC_RP_SIGN_ALGO"] in discovery["id_token_signing_alg_values_supported"]
    for setting, name in (
        ("AUTHORIZATION", "authorization_endpoint"),
        ("TOKEN", "token_endpoint"),
        ("USER", "userinfo_endpoint"),
        ("JWKS", "jwks_uri"),
    ):
        assert settings[f"OIDC_OP_{setting}_ENDPOINT"] == discovery[name]
    assert settings["OIDC_RP_CLIENT_ID"], settings["OIDC_RP_CLIENT_SECRET"] == (client.client_id, client.client_secret)
    assert settings["OIDC_RP_SCOPES"] == client.scope


async def test_django_allauth(client: RelyingParty, discovery: dict[str, Any]) -> None:
    settings: dict[str, Any] = {}
    exec((await of_client(client))["Django: allauth"], settings)
    provider = settings["SOCIALACCOUNT_PROVIDERS"]["openid_connect"]
    assert provider["OAUTH_PKCE_ENABLED"] is True
    (app,) = provider["APPS"]
    assert (app["client_id"], app["secret"]) == (client.client_id, client.client_secret)
    assert app["settings"] == {"server_url": discovery["issuer"], "scope": client.scope.split()}


async def test_go(client: RelyingParty, discovery: dict[str, Any]) -> None:
    code = (await of_client(client))["Go: go-oidc and x/oauth2"]
    quoted = re.findall(r'"([^"]*)"', code)
    assert quoted == [
        discovery["issuer"], client.client_id, client.client_secret, client.redirect_uri, *client.scope.split(),
    ]  # fmt: skip
    assert "oauth2.S256ChallengeOption(verifier)" in code
    assert "oauth2.VerifierOption(verifier)" in code


async def test_go_as_a_resource_server(server: Server, make_client: MakeClient) -> None:
    from idp.oauth.clients.registration import register_resource_server

    api = f"https://{(await make_client()).client_id}.example.com"
    made = await register_resource_server(api, "API")
    code = (await of_resource_server(api, server.issuer))["Go: go-oidc"]
    assert re.findall(r'"([^"]*)"', code) == [f"{server.issuer}/jwks/{made.jwks_id}", server.issuer, api, "RS256"]


async def test_spring_client(client: RelyingParty, discovery: dict[str, Any]) -> None:
    values = dict(
        line.strip().split(": ", 1)
        for line in (await of_client(client))["Java: Spring Security"].splitlines()
        if ": " in line
    )
    assert values["provider.idp.issuer-uri"] == discovery["issuer"]
    assert (values["client-id"], values["client-secret"]) == (client.client_id, client.client_secret)
    assert values["redirect-uri"] == client.redirect_uri
    assert values["scope"].split(", ") == client.scope.split()


async def test_native_apps(make_client: MakeClient, discovery: dict[str, Any]) -> None:
    """kubelogin and AppAuth: what they name is registered, and where kubelogin listens is where it is sent back to."""
    uri = "http://127.0.0.1:18000/"
    native = await make_client(application_type="native", token_endpoint_auth_method="none", redirect_uris=[uri])
    snippets = await of_client(native)
    words = shlex.split(snippets["Kubernetes: kubelogin"].replace("\\\n", ""))
    options = dict(word.removeprefix("--exec-arg=").split("=", 1) for word in words if word.startswith("--exec-arg=--"))
    assert options == {
        "--oidc-issuer-url": discovery["issuer"],
        "--oidc-client-id": native.client_id,
        "--oidc-pkce-method": "S256",
        "--oidc-redirect-url": uri,
        "--listen-address": "127.0.0.1:18000",
    }
    for library in ("Android: AppAuth", "iOS: AppAuth"):
        assert {discovery["issuer"], native.client_id, uri} <= set(re.findall(r'"([^"]*)"', snippets[library]))


async def test_every_snippet_has_a_test(client: RelyingParty, make_client: MakeClient, server: Server) -> None:
    """Here, or in the modules beside this one: by the library's name in the title."""
    from pathlib import Path

    from idp.oauth.clients.registration import register_resource_server

    told = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    public = {"token_endpoint_auth_method": "none"}
    native = {"application_type": "native", "redirect_uris": ["http://127.0.0.1:18000/"]}
    service = {"grant_types": ["client_credentials"], "redirect_uris": [], "scope": "read"}
    api = f"https://{client.client_id}.every.example.com"
    await register_resource_server(api, "API")
    found = await of_resource_server(api, server.issuer)
    for party in (client, *[await make_client(**kind) for kind in (public, public | native, service)]):
        found |= await of_client(party)
    missing = [title for title in found if f'"{title}"' not in told and "Spring Boot 3" not in title]
    assert missing == []
