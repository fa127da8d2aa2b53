"""Configuration snippets for common libraries, with the values of a client or resource server.

Tests run each of them with the real library, or compare those of other programs with our metadata.
"""

import shlex
from typing import Any
from urllib.parse import urlsplit

from idp.admin.console import snippets_of_apis, snippets_of_dpop, snippets_of_proofs, snippets_of_web
from idp.settings import settings

Snippets = list[tuple[str, str]]


def of_client(row: Any, secret: str) -> Snippets:
    """Return the snippets for a client by its application type."""
    if row["token_endpoint_auth_method"] in snippets_of_proofs.METHODS:
        return snippets_of_proofs.of(row, secret)
    if row["dpop_bound_access_tokens"]:
        return snippets_of_dpop.of(row, secret)
    if "client_credentials" in row["grant_types"] and not row["redirect_uris"]:
        return _service(row, secret)
    if not row["redirect_uris"]:
        return _device(row, secret)
    if row["application_type"] == "native":
        return _native(row)
    return _single_page(row) if row["token_endpoint_auth_method"] == "none" else snippets_of_web.of(row, secret)


def _device(row: Any, secret: str) -> Snippets:
    issuer, public = settings().issuer, row["token_endpoint_auth_method"] == "none"
    authentication = "undefined, client.None()" if public else f'"{secret}", undefined'
    options = ", { execute: [client.allowInsecureRequests] }" if issuer.startswith("http://") else ""
    return [
        (
            "Node: openid-client",
            f"""import * as client from "openid-client";

const server = await client.discovery(
  new URL("{issuer}"), "{row["client_id"]}", {authentication}{options},
);
const device = await client.initiateDeviceAuthorization(server, {{ scope: "{row["scope"]}" }});
console.log(`Open ${{device.verification_uri}} and enter the code ${{device.user_code}}`);
const tokens = await client.pollDeviceAuthorizationGrant(server, device);
console.log(`Signed in: ${{tokens.claims().sub}}`);""",
        )
    ]


def _single_page(row: Any) -> Snippets:
    # The browser sends the refresh token's cookie only with credentials included, and only to this site.
    cookie = '\n  fetchRequestCredentials: "include",' if row["refresh_token_cookie"] else ""
    return [
        (
            "JavaScript: oidc-client-ts",
            f"""import {{ UserManager }} from "oidc-client-ts";

const users = new UserManager({{
  authority: "{settings().issuer}",
  client_id: "{row["client_id"]}",
  redirect_uri: "{row["redirect_uris"][0]}",
  scope: "{row["scope"]}",
  loadUserInfo: true,{cookie}
}});
const atCallback = new URLSearchParams(location.search).has("state");
const user = atCallback ? await users.signinCallback() : await users.getUser();
if (!user) await users.signinRedirect();
else history.replaceState(null, "", location.pathname);""",
        )
    ]


def _native(row: Any) -> Snippets:
    issuer, uri = settings().issuer, row["redirect_uris"][0]
    return [
        (
            "Android: AppAuth",
            f"""AuthorizationServiceConfiguration.fetchFromIssuer(Uri.parse("{issuer}"), (config, error) -> {{
    AuthorizationRequest request = new AuthorizationRequest.Builder(
        config, "{row["client_id"]}", ResponseTypeValues.CODE, Uri.parse("{uri}"))
        .setScope("{row["scope"]}").build();
}});""",
        ),
        (
            "iOS: AppAuth",
            f"""OIDAuthorizationService.discoverConfiguration(forIssuer: URL(string: "{issuer}")!) {{ config, error in
  let request = OIDAuthorizationRequest(
    configuration: config!, clientId: "{row["client_id"]}", scopes: {list(row["scope"].split())},
    redirectURL: URL(string: "{uri}")!, responseType: OIDResponseTypeCode, additionalParameters: nil)
}}""".replace("'", '"'),
        ),
        (
            "Kubernetes: kubelogin (with scope claims in the ID token)",
            f"""kubectl config set-credentials oidc \\
  --exec-api-version=client.authentication.k8s.io/v1 --exec-interactive-mode=IfAvailable \\
  --exec-command=kubectl --exec-arg=oidc-login --exec-arg=get-token \\
  --exec-arg=--oidc-issuer-url={issuer} \\
  --exec-arg=--oidc-client-id={row["client_id"]} \\
  --exec-arg=--oidc-pkce-method=S256 \\
  --exec-arg=--oidc-redirect-url={uri} \\
  --exec-arg=--listen-address={_listen_address(uri)}""",
        ),
    ]


def _listen_address(uri: str) -> str:
    """Return the loopback redirect URI of a native application."""
    parts = urlsplit(uri)
    return f"127.0.0.1:{parts.port or 8000}"


def _service(row: Any, secret: str) -> Snippets:
    issuer = settings().issuer
    # A scope may contain characters with a meaning to the shell, such as ' and ; (RFC 6749 section 3.3).
    scope = " -d " + shlex.quote("scope=" + row["scope"]) if row["scope"] else ""
    credentials = shlex.quote(f"{row['client_id']}:{secret}")
    return [
        ("curl", f"curl {issuer}/token -u {credentials} -d grant_type=client_credentials{scope}"),
        (
            "Python: Authlib",
            f"""from authlib.integrations.httpx_client import OAuth2Client

client = OAuth2Client("{row["client_id"]}", "{secret}", scope="{row["scope"]}")
token = client.fetch_token("{issuer}/token", grant_type="client_credentials")""",
        ),
    ]


of_resource_server = snippets_of_apis.of
