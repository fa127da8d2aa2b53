"""Configuration for common libraries, with the real values of a client or a resource server."""

import shlex
from typing import Any

from idp.settings import settings

Snippets = list[tuple[str, str]]


def of_client(row: Any, secret: str) -> Snippets:
    """What to paste into an application, by the kind of client."""
    if "client_credentials" in row["grant_types"] and not row["redirect_uris"]:
        return _service(row, secret)
    if row["application_type"] == "native":
        return _native(row)
    return _single_page(row) if row["token_endpoint_auth_method"] == "none" else _web(row, secret)


def _web(row: Any, secret: str) -> Snippets:
    issuer, uri, scope = settings().issuer, row["redirect_uris"][0], row["scope"]
    return [
        (
            "Python: Authlib with Flask or Starlette",
            f"""oauth.register(
    "idp",
    client_id="{row["client_id"]}",
    client_secret="{secret}",
    server_metadata_url="{issuer}/.well-known/openid-configuration",
    client_kwargs={{"scope": "{scope}", "code_challenge_method": "S256"}},
)""",
        ),
        (
            "Java: Spring Security (application.yml)",
            f"""spring.security.oauth2.client:
  provider.idp.issuer-uri: {issuer}
  registration.idp:
    client-id: {row["client_id"]}
    client-secret: {secret}
    redirect-uri: {uri}
    scope: {", ".join(scope.split())}""",
        ),
        (
            "Node: openid-client",
            f"""import * as client from "openid-client";

const config = await client.discovery(new URL("{issuer}"), "{row["client_id"]}", "{secret}");
const code_verifier = client.randomPKCECodeVerifier();
const url = client.buildAuthorizationUrl(config, {{
  redirect_uri: "{uri}",
  scope: "{scope}",
  code_challenge: await client.calculatePKCECodeChallenge(code_verifier),
  code_challenge_method: "S256",
}});""",
        ),
    ]


def _single_page(row: Any) -> Snippets:
    return [
        (
            "JavaScript: oidc-client-ts",
            f"""import {{ UserManager }} from "oidc-client-ts";

const users = new UserManager({{
  authority: "{settings().issuer}",
  client_id: "{row["client_id"]}",
  redirect_uri: "{row["redirect_uris"][0]}",
  scope: "{row["scope"]}",
}});
await users.signinRedirect();""",
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
    ]


def _service(row: Any, secret: str) -> Snippets:
    issuer = settings().issuer
    # A scope may hold what a shell goes by, such as ' and ; (RFC 6749 section 3.3).
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


def of_resource_server(row: Any) -> Snippets:
    """How a resource server validates the tokens that are meant for it."""
    issuer, alg = settings().issuer, row["access_token_signed_response_alg"]
    uri = f"{issuer}/jwks/{row['jwks_id']}"
    return [
        (
            "Python: PyJWT",
            f"""import jwt

jwks = jwt.PyJWKClient("{uri}")

def claims_of(access_token: str) -> dict:
    key = jwks.get_signing_key_from_jwt(access_token)
    return jwt.decode(access_token, key, algorithms=["{alg}"], audience="{row["identifier"]}", issuer="{issuer}")""",
        ),
        (
            "Python: joserfc",
            f"""from joserfc import jwt
from joserfc.jwk import KeySet

keys = KeySet.import_key_set(httpx.get("{uri}").json())  # again every few minutes
token = jwt.decode(access_token, keys, algorithms=["{alg}"])
jwt.JWTClaimsRegistry(
    iss={{"essential": True, "value": "{issuer}"}}, aud={{"essential": True, "value": "{row["identifier"]}"}}
).validate(token.claims)""",
        ),
        (
            "Node: jose",
            f"""import {{ createRemoteJWKSet, jwtVerify }} from "jose";

const jwks = createRemoteJWKSet(new URL("{uri}"));
const {{ payload }} = await jwtVerify(accessToken, jwks, {{
  issuer: "{issuer}",
  audience: "{row["identifier"]}",
  algorithms: ["{alg}"],
  typ: "at+jwt",
}});""",
        ),
        (
            "Java: Spring Security (application.yml)",
            f"""spring.security.oauth2.resourceserver.jwt:
  issuer-uri: {issuer}
  jwk-set-uri: {uri}
  audiences: {row["identifier"]}""",
        ),
    ]
