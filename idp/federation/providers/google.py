"""Google (OpenID Connect; https://developers.google.com/identity/openid-connect)."""

from typing import Any, ClassVar

from idp.federation.models import AuthorizationRequest, Upstream
from idp.federation.providers.oidc import OpenIDProvider


class Google(OpenIDProvider):
    """Google lets users select an account, but does not reauthenticate on request or report ``auth_time``."""

    DEFAULTS: ClassVar[dict[str, Any]] = {
        "name": "Google",
        "issuer": "https://accounts.google.com",
        "scope": "openid profile email",
        "trust_email": True,
    }
    OPTIONS: ClassVar[dict[str, str]] = {}
    reauthenticates = False

    def authorization_parameters(self, upstream: Upstream, request: AuthorizationRequest) -> dict[str, str]:
        asked = {"login_hint": request.login_hint} if request.login_hint else {}
        if request.select_account:
            asked["prompt"] = "select_account"
        domains = upstream.required_claims.get("hd", ())
        if len(domains) == 1:
            # A hint for the account chooser. The ``hd`` claim of the ID token is what is checked.
            asked["hd"] = domains[0]
        return asked

    def is_email_trusted(self, upstream: Upstream, claims: dict[str, Any]) -> bool:
        # Google verified addresses of other domains once, by mail, and cannot know who owns them today.
        own = claims.get("hd") is not None or str(claims.get("email")).lower().endswith("@gmail.com")
        return own and super().is_email_trusted(upstream, claims)


PROVIDER = Google()
