"""Sign in with Apple (https://developer.apple.com/documentation/signinwithapple)."""

from typing import Any, ClassVar

from idp import clock
from idp.federation.errors import InvalidUpstreamError
from idp.federation.models import AuthorizationRequest, Upstream
from idp.federation.providers.oidc import OpenIDProvider
from idp.infra import foreign_json
from idp.keys import jose

#: Lifetime of a client assertion in seconds. Each sign-in makes a new one.
ASSERTION_LIFETIME = 300


class Apple(OpenIDProvider):
    """Apple posts its response, requires a JWT as client secret, and sends the name once, outside of the ID token."""

    DEFAULTS: ClassVar[dict[str, Any]] = {
        "name": "Apple",
        "issuer": "https://appleid.apple.com",
        "scope": "openid name email",
        "trust_email": True,
    }
    OPTIONS: ClassVar[dict[str, str]] = {"team_id": "Team ID", "key_id": "Key ID of the private key"}
    reauthenticates = False

    def check(self, upstream: Upstream) -> None:
        super().check(upstream)
        if not {"team_id", "key_id"} <= upstream.options.keys():
            raise InvalidUpstreamError("Apple needs the options team_id and key_id.")

    def check_secret(self, upstream: Upstream) -> None:
        try:
            self.client_secret(upstream)
        except (jose.InvalidKeyError, jose.UnsupportedAlgorithmError) as error:
            raise InvalidUpstreamError(
                "The client secret must be the private key that Apple gave you, as PEM."
            ) from error

    def client_secret(self, upstream: Upstream) -> str | None:
        """Return a JWT signed with the private key from Apple (ES256)."""
        now = clock.timestamp()
        claims = {
            "iss": upstream.options["team_id"],
            "iat": now,
            "exp": now + ASSERTION_LIFETIME,
            "aud": "https://appleid.apple.com",
            "sub": upstream.client_id,
        }
        return jose.sign_assertion(upstream.client_secret or "", "ES256", upstream.options["key_id"], claims)

    def authorization_parameters(self, upstream: Upstream, request: AuthorizationRequest) -> dict[str, str]:
        # Apple requires form_post if name or email is requested.
        return {"response_mode": "form_post"}

    def callback_claims(self, parameters: dict[str, str]) -> dict[str, Any]:
        """Return the name from ``user``, which only the first sign-in has."""
        try:
            name = foreign_json.decode(parameters["user"])["name"]
            members = {"given_name": name.get("firstName"), "family_name": name.get("lastName")}
        except (KeyError, TypeError, ValueError, AttributeError):
            return {}
        # Users may omit either name.
        names = {claim: text for claim, text in members.items() if isinstance(text, str) and text.strip()}
        return names | {"name": " ".join(names.values())} if names else {}


PROVIDER = Apple()
