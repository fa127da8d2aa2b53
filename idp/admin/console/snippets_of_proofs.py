"""Snippets for clients that authenticate by an assertion, a certificate or a token of their platform."""

import shlex
from typing import Any

from idp.keys.algorithms import ALGORITHMS
from idp.oauth.clients.auth_methods import ASSERTION_METHODS, TLS_METHODS, WORKLOAD_METHOD
from idp.settings import settings

Snippets = list[tuple[str, str]]

METHODS = (*ASSERTION_METHODS, *TLS_METHODS, WORKLOAD_METHOD)
_ASSERTION = "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
#: Parameters of Web Crypto by key type.
_IMPORTS = {
    "RSA": '{ name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" }',
    "EC": '{ name: "ECDSA", namedCurve: "P-256" }',
    "OKP": '{ name: "Ed25519" }',
}


def of(row: Any, secret: str) -> Snippets:
    """Return the snippets for a client by its method. Those of openid-client go on as its documentation says."""
    method = row["token_endpoint_auth_method"]
    if method in ASSERTION_METHODS:
        return [("Node: openid-client", _openid_client(row, secret))]
    proof = " --cert client.pem --key client.key" if method in TLS_METHODS else ""
    base = settings().mtls_url or settings().issuer if method in TLS_METHODS else settings().issuer
    parameters = [f"client_id={row['client_id']}", "grant_type=client_credentials"]
    if method == WORKLOAD_METHOD:
        parameters.append(_ASSERTION)
    if row["scope"]:
        parameters.append(f"scope={row['scope']}")
    lines = [f"curl {base}/token{proof}", *(f"  -d {shlex.quote(parameter)}" for parameter in parameters)]
    if method == WORKLOAD_METHOD:
        lines.append("  --data-urlencode client_assertion@/var/run/secrets/idp/token")
    return [("curl", " \\\n".join(lines))] if "client_credentials" in row["grant_types"] else []


def _openid_client(row: Any, secret: str) -> str:
    issuer = settings().issuer
    insecure = ", {\n  execute: [client.allowInsecureRequests],\n}" if issuer.startswith("http://") else ""
    if row["token_endpoint_auth_method"] == "client_secret_jwt":
        key, authentication = "", f'client.ClientSecretJwt("{secret}")'
    else:
        kty = ALGORITHMS[row["token_endpoint_auth_signing_alg"] or "ES256"].kty
        key = f"""import {{ readFileSync }} from "node:fs";

const jwk = JSON.parse(readFileSync("private-key.json"));
const key = await crypto.subtle.importKey("jwk", jwk, {_IMPORTS[kty]}, false, ["sign"]);
"""
        authentication = "client.PrivateKeyJwt({ key, kid: jwk.kid })"
    parameters = f'{{ scope: "{row["scope"]}" }}' if row["scope"] else ""
    grant = f"\nexport const tokens = await client.clientCredentialsGrant(config{', ' * bool(parameters)}{parameters});"
    return f"""import * as client from "openid-client";
{key}
const config = await client.discovery(
  new URL("{issuer}"),
  "{row["client_id"]}",
  undefined,
  {authentication}{insecure},
);""" + (grant if "client_credentials" in row["grant_types"] else "")
