"""Microsoft Entra ID (https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc)."""

import re
from typing import Any, ClassVar

from idp.federation.errors import InvalidUpstreamError
from idp.federation.models import Upstream
from idp.federation.providers.oidc import OpenIDProvider

#: An issuer for people of any organisation, of any, or of none.
_SHARED = re.compile(r"(https://[^/]+)/(common|organizations|consumers)/v2\.0")
_TENANT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Microsoft(OpenIDProvider):
    """One issuer that speaks for many: each tenant has an ``iss`` of its own, and may name any address."""

    DEFAULTS: ClassVar[dict[str, Any]] = {
        "name": "Microsoft",
        "issuer": "https://login.microsoftonline.com/common/v2.0",
        "scope": "openid profile email",
        # Whoever runs a tenant decides what its addresses are. They prove nothing.
        "trust_email": False,
    }

    def check(self, upstream: Upstream) -> None:
        super().check(upstream)
        if upstream.trust_email and _SHARED.fullmatch(upstream.issuer):
            raise InvalidUpstreamError("Addresses can be trusted only of one tenant: put its id into the issuer.")

    def published_issuer(self, upstream: Upstream) -> str:
        # That of consumers is published under the tenant's id that all of them share.
        if shared := _SHARED.fullmatch(upstream.issuer):
            tenant = "9188040d-6c67-4c5b-b112-36a304b66dad" if shared[2] == "consumers" else "{tenantid}"
            return f"{shared[1]}/{tenant}/v2.0"
        return upstream.issuer

    def expected_issuer(self, upstream: Upstream, token: dict[str, Any]) -> str:
        tenant = token.get("tid")
        if isinstance(tenant, str) and _TENANT.fullmatch(tenant):
            return self.published_issuer(upstream).replace("{tenantid}", tenant)
        return upstream.issuer


PROVIDER = Microsoft()
