"""Snippets for web applications with a client secret."""

from typing import Any

from idp.settings import settings

Snippets = list[tuple[str, str]]


def of(row: Any, secret: str) -> Snippets:
    """Return the snippets for applications, frameworks and proxies. Each uses PKCE."""
    issuer, client_id, uri, scope = settings().issuer, row["client_id"], row["redirect_uris"][0], row["scope"]
    return [
        *_python(issuer, client_id, secret, uri, scope),
        *_node(issuer, client_id, secret, uri, scope),
        *_java(issuer, client_id, secret, uri, scope),
        _go(issuer, client_id, secret, uri, scope),
        *_products(issuer, client_id, secret, uri, scope),
    ]


def _python(issuer: str, client_id: str, secret: str, uri: str, scope: str) -> Snippets:
    return [
        (
            "Python: Authlib with Flask or Starlette",
            f"""oauth.register(
    "idp",
    client_id="{client_id}",
    client_secret="{secret}",
    server_metadata_url="{issuer}/.well-known/openid-configuration",
    client_kwargs={{"scope": "{scope}", "code_challenge_method": "S256"}},
)""",
        ),
        (
            "Django: mozilla-django-oidc (settings.py)",
            f"""OIDC_RP_CLIENT_ID = "{client_id}"
OIDC_RP_CLIENT_SECRET = "{secret}"
OIDC_RP_SCOPES = "{scope}"
OIDC_RP_SIGN_ALGO = "RS256"
OIDC_USE_PKCE = True
OIDC_OP_AUTHORIZATION_ENDPOINT = "{issuer}/authorize"
OIDC_OP_TOKEN_ENDPOINT = "{issuer}/token"
OIDC_OP_USER_ENDPOINT = "{issuer}/userinfo"
OIDC_OP_JWKS_ENDPOINT = "{issuer}/.well-known/jwks.json\"""",
        ),
        (
            "Django: allauth (settings.py)",
            f"""SOCIALACCOUNT_PROVIDERS = {{
    "openid_connect": {{
        "OAUTH_PKCE_ENABLED": True,
        "APPS": [
            {{
                "provider_id": "idp",
                "name": "idp",
                "client_id": "{client_id}",
                "secret": "{secret}",
                "settings": {{"server_url": "{issuer}", "scope": {scope.split()!r}}},
            }}
        ],
    }}
}}""",
        ),
    ]


def insecure(issuer: str) -> str:
    """Return further arguments of openid-client's discovery, which refuses http, even for the loopback address."""
    return ", undefined, {\n  execute: [client.allowInsecureRequests],\n}" if issuer.startswith("http://") else ""


def _node(issuer: str, client_id: str, secret: str, uri: str, scope: str) -> Snippets:
    return [
        (
            "Node: openid-client",
            f"""import * as client from "openid-client";

const config = await client.discovery(new URL("{issuer}"), "{client_id}", "{secret}"{insecure(issuer)});
const code_verifier = client.randomPKCECodeVerifier();
const state = client.randomState();
// Keep both in the browser's session, and send the browser to url.href.
export const url = client.buildAuthorizationUrl(config, {{
  redirect_uri: "{uri}",
  scope: "{scope}",
  state,
  code_challenge: await client.calculatePKCECodeChallenge(code_verifier),
  code_challenge_method: "S256",
}});

export async function callback(currentUrl) {{
  const tokens = await client.authorizationCodeGrant(config, currentUrl, {{
    pkceCodeVerifier: code_verifier,
    expectedState: state,
    idTokenExpected: true,
  }});
  return await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub);
}}""",
        ),
        (
            "Node: Auth.js, Next.js (redirect URI: …/api/auth/callback/idp)",
            f"""export const idp = {{
  id: "idp",
  name: "idp",
  type: "oidc",
  issuer: "{issuer}",
  clientId: "{client_id}",
  clientSecret: "{secret}",
  checks: ["pkce", "state"],
  idToken: false, // name and email come from userinfo
  authorization: {{ params: {{ scope: "{scope}" }} }},
}};""",
        ),
    ]


def _java(issuer: str, client_id: str, secret: str, uri: str, scope: str) -> Snippets:
    return [
        (
            "Java: Spring Security (application.yml)",
            f"""spring.security.oauth2.client:
  provider.idp.issuer-uri: {issuer}
  registration.idp:
    client-id: {client_id}
    client-secret: {secret}
    redirect-uri: {uri}
    scope: {", ".join(scope.split())}""",
        ),
        (
            "Java: Spring Boot 3, besides: it sends PKCE only if told to",
            """@Bean
SecurityFilterChain security(HttpSecurity http, ClientRegistrationRepository clients) throws Exception {
    var resolver = new DefaultOAuth2AuthorizationRequestResolver(clients, "/oauth2/authorization");
    resolver.setAuthorizationRequestCustomizer(OAuth2AuthorizationRequestCustomizers.withPkce());
    return http.authorizeHttpRequests(requests -> requests.anyRequest().authenticated())
        .oauth2Login(login -> login.authorizationEndpoint(at -> at.authorizationRequestResolver(resolver)))
        .build();
}""",
        ),
    ]


def _go(issuer: str, client_id: str, secret: str, uri: str, scope: str) -> tuple[str, str]:
    scopes = ", ".join(f'"{name}"' for name in scope.split())
    return (
        "Go: go-oidc and x/oauth2",
        f"""provider, err := oidc.NewProvider(ctx, "{issuer}")
if err != nil {{
	return err
}}
config := oauth2.Config{{
	ClientID:     "{client_id}",
	ClientSecret: "{secret}",
	Endpoint:     provider.Endpoint(),
	RedirectURL:  "{uri}",
	Scopes:       []string{{{scopes}}},
}}
verifier := oauth2.GenerateVerifier()
url := config.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier))
// At the redirect URI:
token, err := config.Exchange(ctx, code, oauth2.VerifierOption(verifier))""",
    )


def _products(issuer: str, client_id: str, secret: str, uri: str, scope: str) -> Snippets:
    return [
        (
            "oauth2-proxy (redirect URI: …/oauth2/callback)",
            f"""provider = "oidc"
oidc_issuer_url = "{issuer}"
client_id = "{client_id}"
client_secret = "{secret}"
redirect_url = "{uri}"
scope = "{scope}"
code_challenge_method = "S256"
email_domains = ["*"]
# openssl rand -base64 32 | tr -- '+/' '-_'
cookie_secret = "A_SECRET_OF_ITS_OWN\"""",
        ),
        (
            "Grafana (redirect URI: …/login/generic_oauth)",
            f"""[auth.generic_oauth]
enabled = true
name = idp
client_id = {client_id}
client_secret = {secret}
scopes = {scope}
auth_url = {issuer}/authorize
token_url = {issuer}/token
api_url = {issuer}/userinfo
use_pkce = true
email_attribute_path = email
login_attribute_path = preferred_username || email
name_attribute_path = name""",
        ),
    ]
