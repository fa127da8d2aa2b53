"""Trusted issuers."""

from collections.abc import Collection
from typing import Any, ClassVar

import msgspec

from idp.config.kinds.base import Kind, without
from idp.oauth.clients.registration import TOPIC
from idp.oauth.issuers import registration
from idp.oauth.issuers.models import StoredTrustedIssuer, TrustedIssuer
from idp.oauth.issuers.repository import issuers


class TrustedIssuers(Kind):
    """Other servers whose tokens are accepted."""

    section = "trusted_issuers"
    model: ClassVar[Any] = without(TrustedIssuer, "TrustedIssuerEntry", "id")
    key = ("issuer",)
    topics = (TOPIC,)

    async def read(self) -> list[Any]:
        return [self._entry(stored) for stored in await issuers()]

    def _entry(self, issuer: TrustedIssuer) -> Any:
        return self.model(**{name: getattr(issuer, name) for name in self.model.__struct_fields__})

    def normal(self, entry: Any, named: Collection[str]) -> Any:
        return self._entry(registration.checked(msgspec.structs.asdict(entry)))

    async def create(self, entry: Any, secret: str | None) -> None:
        await registration.add(**msgspec.structs.asdict(entry))

    async def update(self, before: Any, after: Any, changed: Collection[str]) -> None:
        await registration.update((await self._stored(after)).id, **{name: getattr(after, name) for name in changed})

    async def delete(self, entry: Any) -> None:
        await registration.remove((await self._stored(entry)).id)

    async def _stored(self, entry: Any) -> StoredTrustedIssuer:
        return next(stored for stored in await issuers() if stored.issuer == entry.issuer)

    async def losses(self, entry: Any) -> str:
        return "Tokens issued for assertions of the issuer are revoked."
