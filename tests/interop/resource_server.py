"""A resource server in a process of its own: it gets tokens and validates them, all the time, by a real library.

    python resource_server.py LIBRARY CACHE JWKS_URI TOKEN_ENDPOINT… < one line with client_id, client_secret, resource

LIBRARY is pyjwt, joserfc or authlib; CACHE is how many seconds it keeps the JWKS, or `for-ever`. It never fetches the
JWKS because a key is unknown to it: what it has cached must do. It prints `started`, the id of each key when it has
first validated a token of it, and at the end of its standard input what it saw.
"""

import json
import random
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import deque
from collections.abc import Callable
from typing import Any

#: The number of tokens kept for another validation, and how many seconds before their expiry they are dropped.
KEPT, LAST_SECONDS = 60, 3
PAUSE_SECONDS = 0.1

Validate = Callable[[str, dict[str, Any], str, str], dict[str, Any]]


def pyjwt(token: str, jwks: dict[str, Any], issuer: str, audience: str) -> dict[str, Any]:
    import jwt

    key = jwt.PyJWKSet.from_dict(jwks)[jwt.get_unverified_header(token)["kid"]]
    claims: dict[str, Any] = jwt.decode(token, key, algorithms=["RS256"], audience=audience, issuer=issuer)
    return claims


def joserfc(token: str, jwks: dict[str, Any], issuer: str, audience: str) -> dict[str, Any]:
    from joserfc import jwt
    from joserfc.jwk import KeySet

    found = jwt.decode(token, KeySet.import_key_set(jwks), algorithms=["RS256"])
    registry = jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": issuer}, aud={"essential": True, "value": audience}
    )
    registry.validate(found.claims)
    return found.claims


def authlib(token: str, jwks: dict[str, Any], issuer: str, audience: str) -> dict[str, Any]:
    from authlib.jose import JsonWebKey, JsonWebToken

    options = {"iss": {"essential": True, "value": issuer}, "aud": {"essential": True, "value": audience}}
    claims = JsonWebToken(["RS256"]).decode(token, JsonWebKey.import_key_set(jwks), claims_options=options)
    claims.validate()
    return dict(claims)


class Cache:
    """The JWKS, fetched again when it is older than it may be."""

    def __init__(self, uri: str, seconds: float, agent: str) -> None:
        self.uri, self.seconds, self.agent = uri, seconds, agent
        self.jwks: dict[str, Any] = {}
        self.until = 0.0
        self.fetches = 0

    def get(self) -> dict[str, Any]:
        if time.monotonic() >= self.until:
            request = urllib.request.Request(self.uri, headers={"User-Agent": self.agent})
            with urllib.request.urlopen(request, timeout=10) as response:
                self.jwks = json.load(response)
            self.until = time.monotonic() + self.seconds
            self.fetches += 1
        return self.jwks


def new_token(endpoint: str, client: dict[str, str]) -> str | None:
    """Return a token, or None while the server is down."""
    body = urllib.parse.urlencode({"grant_type": "client_credentials", **client}).encode()
    try:
        with urllib.request.urlopen(endpoint, body, timeout=10) as response:
            token: str = json.load(response)["access_token"]
            return token
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None


def main(library: str, cache: str, jwks_uri: str, *endpoints: str) -> None:
    client = json.loads(sys.stdin.readline())
    issuer = client.pop("issuer")
    validate: Validate = {"pyjwt": pyjwt, "joserfc": joserfc, "authlib": authlib}[library]
    keys = Cache(jwks_uri, float("inf") if cache == "for-ever" else float(cache), f"{library}/{cache}")
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    kept: deque[tuple[float, str]] = deque(maxlen=KEPT)
    seen: dict[str, Any] = {"validated": 0, "failures": [], "kids": {}, "fetches": 0}
    turn = 0
    while not over.wait(PAUSE_SECONDS):
        token = new_token(endpoints[turn % len(endpoints)], client)
        turn += 1
        if token is not None:
            kept.append((time.time() + client_lifetime(token) - LAST_SECONDS, token))
        new = []
        live = [token for until, token in kept if until > time.time()]
        for candidate in ([token] if token else []) + random.sample(live, min(2, len(live))):
            header = header_of(candidate)
            try:
                validate(candidate, keys.get(), issuer, client["resource"])
                seen["validated"] += 1
                if header["kid"] not in seen["kids"]:
                    new.append(header["kid"])
                seen["kids"][header["kid"]] = seen["kids"].get(header["kid"], 0) + 1
            except Exception as error:
                seen["failures"].append((time.time(), header["kid"], f"{type(error).__name__}: {error}"))
        if turn == 1:
            say("started")
        for kid in new:
            say(kid)
    seen["fetches"] = keys.fetches
    say(json.dumps(seen))


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _part(token: str, number: int) -> dict[str, Any]:
    import base64

    part = token.split(".")[number]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def header_of(token: str) -> dict[str, Any]:
    return _part(token, 0)


def client_lifetime(token: str) -> float:
    claims = _part(token, 1)
    return float(claims["exp"] - claims["iat"])


if __name__ == "__main__":
    main(*sys.argv[1:])
