"""Snippets for resource servers: validate signature, type, issuer, audience and expiry of access tokens."""

import json
from typing import Any

from idp.settings import settings

Snippets = list[tuple[str, str]]


def of(row: Any) -> Snippets:
    """Return the snippets for a resource server, with its own JWKS URL."""
    issuer, audience, kind = settings().issuer, row["identifier"], row["access_token_type"]
    alg, uri = row["access_token_signed_response_alg"], f"{issuer}/jwks/{row['jwks_id']}"
    # Spring Security does not support EdDSA.
    java = [] if alg in ("EdDSA", "Ed25519") else [("Java: Spring Security", _spring(issuer, audience, kind, alg, uri))]
    return [
        ("Python: PyJWT", _pyjwt(issuer, audience, kind, alg, uri)),
        ("Python: FastAPI", _fastapi(issuer, audience, kind, alg, uri)),
        ("Python: joserfc", _joserfc(issuer, audience, kind, alg, uri)),
        ("Node: jose", _jose(issuer, audience, kind, alg, uri)),
        *java,
        ("Go: go-oidc", _go(issuer, audience, kind, alg, uri)),
        *([("Python: MCP", _mcp(row, kind, alg, uri))] if row["self_registered_clients"] else []),
    ]


def _mcp(row: Any, kind: str, alg: str, uri: str) -> str:
    issuer, audience, scopes = settings().issuer, row["identifier"], row["scope"].split()[:1]
    return f"""{_pyjwt(issuer, audience, kind, alg, uri)}


import asyncio

from mcp.server import MCPServer
from mcp.server.auth.provider import AccessToken, TokenVerifier
from mcp.server.auth.settings import AuthSettings


class Tokens(TokenVerifier):
    async def verify_token(self, token: str) -> AccessToken | None:
        try:
            claims = await asyncio.to_thread(claims_of, token)
        except jwt.PyJWTError:
            return None
        return AccessToken(
            token=token, client_id=claims["client_id"], subject=claims["sub"], scopes=claims["scope"].split(),
            expires_at=claims["exp"], resource="{audience}",
        )


server = MCPServer(
    {json.dumps(row["name"])},
    token_verifier=Tokens(),
    auth=AuthSettings(
        issuer_url="{issuer}", resource_server_url="{audience}", required_scopes={scopes!r},
        validate_token_resource=True,
    ),
)"""


def _pyjwt(issuer: str, audience: str, kind: str, alg: str, uri: str) -> str:
    return f"""import jwt

jwks = jwt.PyJWKClient("{uri}")


def claims_of(access_token: str) -> dict:
    if jwt.get_unverified_header(access_token).get("typ") != "{kind}":
        raise jwt.InvalidTokenError("not an access token")
    key = jwks.get_signing_key_from_jwt(access_token)
    return jwt.decode(access_token, key, algorithms=["{alg}"], audience="{audience}", issuer="{issuer}")"""


def _fastapi(issuer: str, audience: str, kind: str, alg: str, uri: str) -> str:
    return f"""{_pyjwt(issuer, audience, kind, alg, uri)}


from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

app = FastAPI()


def caller(sent: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> dict:
    try:
        return claims_of(sent.credentials)
    except jwt.PyJWTError as error:
        raise HTTPException(401, "invalid_token", {{"WWW-Authenticate": 'Bearer error="invalid_token"'}}) from error


@app.get("/")
def read(claims: Annotated[dict, Depends(caller)]) -> dict:
    return {{"sub": claims["sub"], "scope": claims["scope"]}}"""


def _joserfc(issuer: str, audience: str, kind: str, alg: str, uri: str) -> str:
    return f"""import httpx
from joserfc import jwt
from joserfc.jwk import KeySet

keys = KeySet.import_key_set(httpx.get("{uri}").json())  # again every few minutes
expected = jwt.JWTClaimsRegistry(
    iss={{"essential": True, "value": "{issuer}"}},
    aud={{"essential": True, "value": "{audience}"}},
)


def claims_of(access_token: str) -> dict:
    token = jwt.decode(access_token, keys, algorithms=["{alg}"])
    if token.header.get("typ") != "{kind}":
        raise ValueError("not an access token")
    expected.validate(token.claims)
    return token.claims"""


def _jose(issuer: str, audience: str, kind: str, alg: str, uri: str) -> str:
    return f"""import {{ createRemoteJWKSet, jwtVerify }} from "jose";

const jwks = createRemoteJWKSet(new URL("{uri}"));

export async function claimsOf(accessToken) {{
  const {{ payload }} = await jwtVerify(accessToken, jwks, {{
    issuer: "{issuer}",
    audience: "{audience}",
    algorithms: ["{alg}"],
    typ: "{kind}",
  }});
  return payload;
}}"""


def _spring(issuer: str, audience: str, kind: str, alg: str, uri: str) -> str:
    """Return a bean definition: no property makes Spring Security accept `at+jwt`."""
    algorithm = f'.jwsAlgorithm(SignatureAlgorithm.from("{alg}"))'
    builder = f'NimbusJwtDecoder.withJwkSetUri("{uri}"){algorithm}'
    if kind == "JWT":
        return f"""@Bean
JwtDecoder jwtDecoder() {{
    var decoder = {builder}.build();
    decoder.setJwtValidator(JwtValidators.createDefaultWithValidators(
        new JwtIssuerValidator("{issuer}"),
        new JwtClaimValidator<java.util.List<String>>("aud", aud -> aud != null && aud.contains("{audience}"))));
    return decoder;
}}"""
    return f"""@Bean
JwtDecoder jwtDecoder() {{
    var decoder = {builder}.validateType(false).build();
    decoder.setJwtValidator(new DelegatingOAuth2TokenValidator<>(
        new JwtTypeValidator("{kind}"),
        new JwtTimestampValidator(),
        new JwtIssuerValidator("{issuer}"),
        new JwtClaimValidator<java.util.List<String>>("aud", aud -> aud != null && aud.contains("{audience}"))));
    return decoder;
}}"""


def _go(issuer: str, audience: str, kind: str, alg: str, uri: str) -> str:
    return f"""keys := oidc.NewRemoteKeySet(ctx, "{uri}")
verifier := oidc.NewVerifier("{issuer}", keys, &oidc.Config{{
	ClientID:             "{audience}", // compared with aud
	SupportedSigningAlgs: []string{{"{alg}"}},
}})
token, err := verifier.Verify(ctx, accessToken)"""
