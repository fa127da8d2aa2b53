"""Sign in with Apple (https://developer.apple.com/documentation/signinwithapple)."""

import json
from typing import Any, ClassVar

from idp import clock
from idp.federation.errors import InvalidUpstreamError
from idp.federation.models import AuthorizationRequest, Upstream
from idp.federation.providers.oidc import OpenIDProvider
from idp.keys import jose

#: Seconds for which one of our assertions counts; made anew for each sign-in.
ASSERTION_LIFETIME = 300


class Apple(OpenIDProvider):
    """It posts its answer, wants a JWT as the client secret, and tells the name outside of the ID token, once."""

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
        try:
            self.client_secret(upstream)
        except (jose.InvalidKeyError, jose.UnsupportedAlgorithmError) as error:
            raise InvalidUpstreamError(
                "The client secret must be the private key that Apple gave you, as PEM."
            ) from error

    def client_secret(self, upstream: Upstream) -> str | None:
        """A JWT signed with the key that Apple gave us (ES256)."""
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
        # It insists on form_post as soon as a name or an address is asked for.
        return {"response_mode": "form_post"}

    def callback_claims(self, parameters: dict[str, str]) -> dict[str, Any]:
        """The ``user`` of the first sign-in; later ones have none."""
        try:
            name = json.loads(parameters["user"])["name"]
            members = {"given_name": name.get("firstName"), "family_name": name.get("lastName")}
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            return {}
        # People may leave out either.
        names = {claim: text for claim, text in members.items() if isinstance(text, str) and text.strip()}
        return names | {"name": " ".join(names.values())} if names else {}


PROVIDER = Apple()
