"""Microsoft Entra ID (https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc)."""

import re
from typing import Any, ClassVar

from idp.federation.errors import InvalidUpstreamError
from idp.federation.models import Upstream
from idp.federation.providers.oidc import OpenIDProvider

#: Issuers that accept users of all tenants: everyone, organisations only, or personal accounts only.
_SHARED = re.compile(r"(https://[^/]+)/(common|organizations|consumers)/v2\.0")
_TENANT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Microsoft(OpenIDProvider):
    """Microsoft has one set of metadata for many tenants. Each tenant has its own ``iss`` and can claim any address."""

    DEFAULTS: ClassVar[dict[str, Any]] = {
        "name": "Microsoft",
        "issuer": "https://login.microsoftonline.com/common/v2.0",
        "scope": "openid profile email",
        # The administrator of a tenant sets the addresses, so they prove nothing.
        "trust_email": False,
    }

    def check(self, upstream: Upstream) -> None:
        super().check(upstream)
        if upstream.trust_email and _SHARED.fullmatch(upstream.issuer):
            raise InvalidUpstreamError("Addresses can be trusted only of one tenant: put its id into the issuer.")

    def published_issuer(self, upstream: Upstream) -> str:
        # All personal accounts share one tenant id.
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
