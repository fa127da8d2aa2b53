"""Fake upstream providers: real HTTP on loopback, real signatures, and configurable faults."""

import base64
import hashlib
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support import tokens

CLIENT_ID, CLIENT_SECRET = "our-client", "our-secret"
Answer = tuple[int, str, str]
#: JSON that is nested too deeply for every decoder.
NESTED = "[" * 50_000 + "]" * 50_000


def _json(content: Any, status: int = 200) -> Answer:
    return status, "application/json", json.dumps(content)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _client(parameters: dict[str, str], handler: BaseHTTPRequestHandler) -> tuple[str | None, str | None]:
    """Return the credentials of a token request."""
    if (header := handler.headers.get("authorization", "")).startswith("Basic "):
        name, _, secret = base64.b64decode(header[6:]).decode().partition(":")
        return unquote(name), unquote(secret)
    return parameters.get("client_id"), parameters.get("client_secret")


class StandIn:
    """A server in a thread.

    Attributes:
        url: its URL.
        path: the prefix of all its paths.
        faults: the names of its active faults.
        requests: the path and the parameters of each request so far. headers: their headers, names in lower case.
        delay: the delay in seconds of the fault ``slow``.
    """

    def __init__(self) -> None:
        self.faults: set[str] = set()
        self.client_secret = CLIENT_SECRET
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.headers: list[dict[str, str]] = []
        self.codes: dict[str, dict[str, str]] = {}
        self.delay = 30.0
        self.path = ""
        self._stopping = threading.Event()
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stand_in._serve(self, dict(parse_qsl(urlsplit(self.path).query)))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
                stand_in._serve(self, dict(parse_qsl(body)))

            def log_message(self, format: str, *arguments: Any) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        # By default `shutdown` waits for half a second until the server checks for it.
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, handler: BaseHTTPRequestHandler, parameters: dict[str, str]) -> None:
        path = urlsplit(handler.path).path.removeprefix(self.path)
        self.requests.append((path, parameters))
        self.headers.append({name.lower(): value for name, value in handler.headers.items()})
        status, kind, text = self._spoilt(path) or self.answer(path, parameters, handler)
        handler.send_response(status)
        handler.send_header(*(("Location", text) if status == 302 else ("Content-Type", kind)))
        body = b"" if status == 302 else text.encode()
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        try:
            handler.wfile.write(body)
        except OSError:
            """The client has closed the connection."""

    def _spoilt(self, path: str) -> Answer | None:
        """Return an invalid response for a path that the browser does not see."""
        if "authorize" in path:
            return None
        if "slow" in self.faults:
            self._stopping.wait(self.delay)
        if "error_500" in self.faults:
            return 500, "text/plain", "Something went wrong."
        if "html" in self.faults:
            return 200, "text/html", "<!doctype html><title>Maintenance</title>"
        if "huge" in self.faults:
            return 200, "application/json", json.dumps({"x": "x" * 5_000_000})
        if "array" in self.faults:
            return _json([1, 2, 3])
        if "nested" in self.faults:
            return 200, "application/json", NESTED
        if "elsewhere" in self.faults:
            return 302, "", "http://127.0.0.1:9/"
        return None

    def answer(self, path: str, parameters: dict[str, str], handler: BaseHTTPRequestHandler) -> Answer:
        raise NotImplementedError

    def _code(self, parameters: dict[str, str]) -> str:
        code = secrets.token_urlsafe(16)
        self.codes[code] = parameters
        return code

    def _redeemed(self, parameters: dict[str, str], handler: BaseHTTPRequestHandler) -> dict[str, str] | None:
        """Return the authorization request of a code, if the redemption is valid."""
        given = _client(parameters, handler)
        asked = self.codes.pop(parameters.get("code", ""), None)
        if asked is None or not self.knows(*given) or asked["redirect_uri"] != parameters.get("redirect_uri"):
            return None
        if "code_challenge" not in asked:
            return asked if "code_verifier" not in parameters else None
        digest = hashlib.sha256(parameters.get("code_verifier", "").encode()).digest()
        return asked if asked["code_challenge"] == _encode(digest) else None

    def knows(self, client_id: str | None, client_secret: str | None) -> bool:
        """Return whether these are the credentials of our client."""
        return (client_id, client_secret) == (CLIENT_ID, self.client_secret)


@dataclass
class UpstreamUser:
    """The user who is signed in there."""

    sub: str = field(default_factory=lambda: secrets.token_hex(8))
    email: str | None = field(default_factory=lambda: f"{secrets.token_hex(6)}@example.com")
    email_verified: Any = True
    more: dict[str, Any] = field(default_factory=dict)


class OpenIDProvider(StandIn):
    """An OpenID provider. Every browser is signed in as ``person`` immediately.

    Attributes:
        error: what it sends everybody back with, instead of a code.
        claims: members of the ID token in place of the right ones; None leaves one out.
        header: members of its header, likewise.
        algorithm: what it signs with. Its keys must fit.
        pkce, nonce: whether it knows them.
        userinfo: what it answers about the person, in place of the right thing.
        metadata_path: where its metadata are.
    """

    def __init__(self) -> None:
        self.person = UpstreamUser()
        self.error: str | None = None
        self.claims: dict[str, Any] = {}
        self.header: dict[str, Any] = {}
        self.lean = False
        self.metadata: dict[str, Any] = {}
        self.access_token: str | None = None
        self.algorithm = "RS256"
        self.pkce = self.nonce = True
        self.userinfo: Answer | None = None
        self.metadata_path = "/.well-known/openid-configuration"
        self.keys: dict[str, Any] = {secrets.token_hex(4): rsa.generate_private_key(65537, 2048)}
        self.stranger = rsa.generate_private_key(65537, 2048)
        super().__init__()
        # Another stand-in may get the same port later, while metadata and keys of this one are still cached.
        self.path = f"/{secrets.token_hex(4)}"
        self.issuer = self.url + self.path

    def rotate(self) -> None:
        """Sign with a new key from now on."""
        self.keys[secrets.token_hex(4)] = rsa.generate_private_key(65537, 2048)

    def answer(self, path: str, parameters: dict[str, str], handler: BaseHTTPRequestHandler) -> Answer:
        if path == self.metadata_path:
            return _json(self._metadata())
        match path:
            case "/jwks":
                return _json({"keys": [self._jwk(kid) for kid in self.keys]})
            case "/authorize":
                return self._authorize(parameters)
            case "/token":
                return self._token(parameters, handler)
            case "/userinfo":
                other = {"sub": "somebody-else"} if "other_userinfo" in self.faults else {}
                return self.userinfo or _json(self._profile() | other)
        return 404, "text/plain", "There is no such page."

    def _metadata(self) -> dict[str, Any]:
        issuer = "https://evil.example" if "other_metadata" in self.faults else self.issuer
        return {
            "issuer": issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/jwks",
            "end_session_endpoint": f"{self.issuer}/end",
            "authorization_response_iss_parameter_supported": True,
        } | self.metadata

    def _jwk(self, kid: str) -> dict[str, str]:
        if not isinstance(self.keys[kid], rsa.RSAPrivateKey):
            public = jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.keys[kid].public_key(), as_dict=True)
            return public | {"use": "sig", "kid": kid}
        numbers = self.keys[kid].public_key().public_numbers()
        n, e = (_encode(value.to_bytes((value.bit_length() + 7) // 8, "big")) for value in (numbers.n, numbers.e))
        return {"kty": "RSA", "use": "sig", "kid": kid, "n": n, "e": e}

    def _authorize(self, asked: dict[str, str]) -> Answer:
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT_ID
        assert asked.get("code_challenge_method") == ("S256" if self.pkce else None)
        assert "openid" in asked["scope"].split()
        assert ("nonce" in asked) is self.nonce
        issuer = "https://evil.example" if "other_iss" in self.faults else self.issuer
        back = {"state": asked["state"]} | ({} if "no_iss" in self.faults else {"iss": issuer})
        back |= {"error": self.error} if self.error else {"code": self._code(asked)}
        if asked.get("response_mode") == "form_post":
            if "user" in self.person.more:
                back["user"] = json.dumps(self.person.more["user"])
            return 200, "application/json", json.dumps({"action": asked["redirect_uri"], "fields": back})
        return 302, "", f"{asked['redirect_uri']}?{urlencode(back)}"

    def _token(self, parameters: dict[str, str], handler: BaseHTTPRequestHandler) -> Answer:
        asked = self._redeemed(parameters, handler)
        if not self.knows(*_client(parameters, handler)):
            return _json({"error": "invalid_client"}, 401)
        if asked is None or "token_error" in self.faults:
            return _json({"error": "invalid_grant"}, 400)
        access_token = self.access_token or secrets.token_urlsafe(16)
        given = {"access_token": access_token, "token_type": "Bearer", "expires_in": 3600, "refresh_token": "theirs"}
        return _json(given | ({} if "no_id_token" in self.faults else {"id_token": self._signed(asked, access_token)}))

    def _signed(self, asked: dict[str, str], access_token: str) -> str:
        now, kid = int(time.time()), list(self.keys)[-1]
        half = _encode(hashlib.sha256(access_token.encode("utf-8", "replace")).digest()[:16])
        claims = {
            "iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": asked.get("nonce"),
            "auth_time": now, "at_hash": half, **({"sub": self.person.sub} if self.lean else self._profile()),
            **self.claims,
        }  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        header = {"kid": kid} | self.header
        if "unsigned" in self.faults:
            return f"{tokens.unsigned({'alg': 'none'} | header, claims)}."
        if "hs256" in self.faults:
            public = self.keys[kid].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            return tokens.hmac_signed(public, {"alg": "HS256"} | header, claims)
        key = self.stranger if "other_key" in self.faults else self.keys[kid]
        return jwt.encode(claims, key, algorithm=self.algorithm, headers=header)

    def logout_token(self, header: dict[str, Any] | None = None, key: Any = None, **changes: Any) -> str:
        """Return a logout token about ``person``. A change to None leaves a claim out.

        Args:
            key: signs it in place of the current key.
        """
        now, kid = int(time.time()), list(self.keys)[-1]
        claims = {
            "iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 120, "jti": secrets.token_hex(16),
            "sub": self.person.sub, "events": {"http://schemas.openid.net/event/backchannel-logout": {}}, **changes,
        }  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(
            claims,
            key or self.keys[kid],
            algorithm=self.algorithm,
            headers={"typ": "logout+jwt", "kid": kid} | (header or {}),
        )

    def _profile(self) -> dict[str, Any]:
        person = self.person
        email = {"email": person.email, "email_verified": person.email_verified} if person.email else {}
        return {"sub": person.sub} | email | {name: value for name, value in person.more.items() if name != "user"}


@dataclass
class Octocat:
    """The user at GitHub. Each address is (address, primary, verified)."""

    id: Any = field(default_factory=lambda: secrets.randbelow(10**9))
    login: str = "octocat"
    name: str | None = "Mona Lisa Octocat"
    emails: list[tuple[str, bool, bool]] = field(
        default_factory=lambda: [(f"{secrets.token_hex(6)}@example.com", True, True)]
    )
    organizations: dict[str, str] = field(default_factory=dict)
    #: None: the app may not read them.
    teams: list[str] | None = field(default_factory=list)


class GitHub(StandIn):
    """GitHub's OAuth 2.0, and the part of its API that identifies a user."""

    def __init__(self) -> None:
        self.person = Octocat()
        self.error: str | None = None
        self.addresses: Answer | None = None
        self.tokens: set[str] = set()
        super().__init__()

    def answer(self, path: str, parameters: dict[str, str], handler: BaseHTTPRequestHandler) -> Answer:
        if path == "/login/oauth/authorize":
            assert parameters["client_id"] == CLIENT_ID
            back = {"state": parameters["state"]}
            back |= {"error": self.error} if self.error else {"code": self._code(parameters)}
            return 302, "", f"{parameters['redirect_uri']}?{urlencode(back)}"
        if path == "/login/oauth/access_token":
            if not self.knows(*_client(parameters, handler)):
                return _json({"error": "incorrect_client_credentials"})
            if self._redeemed(parameters, handler) is None:
                # GitHub returns errors with a status of success.
                return _json({"error": "bad_verification_code", "error_description": "It is wrong or has expired."})
            self.tokens.add(token := secrets.token_urlsafe(16))
            return _json({"access_token": token, "token_type": "bearer", "scope": "read:user,user:email"})
        if path == "/api/v3/meta":
            return _json({"verifiable_password_authentication": False})
        if handler.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return _json({"message": "Bad credentials"}, 401)
        return self._api(path)

    def _api(self, path: str) -> Answer:
        person = self.person
        if path == "/api/v3/user":
            page = f"{self.url}/{person.login}"
            return _json(
                {"id": person.id, "login": person.login, "name": person.name, "avatar_url": f"{page}.png",
                 "html_url": page, "blog": "", "email": "public-and-unverified@example.com"}
            )  # fmt: skip
        if path == "/api/v3/user/emails":
            return self.addresses or _json([{"email": a, "primary": p, "verified": v} for a, p, v in person.emails])
        if path == "/api/v3/user/memberships/orgs":
            active = [name for name, state in person.organizations.items() if state == "active"]
            return _json([{"state": "active", "organization": {"login": name}} for name in active])
        if path == "/api/v3/user/teams":
            if person.teams is None:
                return _json({"message": "Forbidden"}, 403)
            pairs = [team.split("/") for team in person.teams]
            return _json([{"slug": slug, "organization": {"login": name}} for name, slug in pairs])
        organization = path.removeprefix("/api/v3/user/memberships/orgs/")
        if organization in person.organizations:
            return _json({"state": person.organizations[organization]})
        return _json({"message": "Not Found"}, 404)
