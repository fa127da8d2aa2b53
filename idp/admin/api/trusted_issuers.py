"""Operations on trusted issuers: other servers whose tokens say who a user is."""

from http import HTTPStatus

import asyncpg
import msgspec

from idp.admin.api.models import trusted_issuers as models
from idp.admin.api.operation import Call, Result, listed, one, operation
from idp.admin.roles import Permission
from idp.oauth.issuers import registration
from idp.oauth.issuers.repository import TRUSTED_ISSUERS, read

_READ, _WRITE = Permission.UPSTREAMS_READ, Permission.UPSTREAMS_WRITE
_PATH = "/trusted_issuers"


def _read(row: asyncpg.Record) -> models.TrustedIssuer:
    return msgspec.convert(msgspec.to_builtins(read(row)), models.TrustedIssuer)


listed(_PATH, _READ, "List trusted issuers", listing=TRUSTED_ISSUERS, read=_read, item=models.TrustedIssuer)


@operation("GET", f"{_PATH}/{{issuer_id}}", _READ, "Show a trusted issuer", content=models.TrustedIssuer)
async def show_issuer(call: Call) -> models.TrustedIssuer:
    found: models.TrustedIssuer = await one(TRUSTED_ISSUERS, _read, id=call.params["issuer_id"])
    return found


@operation(
    "POST", _PATH, _WRITE, "Trust an issuer",
    body=models.NewTrustedIssuer, content=models.TrustedIssuer, status=HTTPStatus.CREATED,
)  # fmt: skip
async def add_issuer(call: Call) -> Result:
    issuer = await registration.add(**msgspec.to_builtins(call.body))
    return Result(await one(TRUSTED_ISSUERS, _read, id=issuer.id), HTTPStatus.CREATED, f"{_PATH}/{issuer.id}")


@operation(
    "PATCH", f"{_PATH}/{{issuer_id}}", _WRITE, "Change a trusted issuer",
    body=models.TrustedIssuerChange, content=models.TrustedIssuer, current=show_issuer,
)  # fmt: skip
async def update_issuer(call: Call) -> models.TrustedIssuer:
    issuer: models.TrustedIssuer = call.current
    await registration.update(issuer.id, issuer.updated_at, **msgspec.to_builtins(call.body))
    return await show_issuer(call)


@operation("DELETE", f"{_PATH}/{{issuer_id}}", _WRITE, "Stop trusting an issuer", current=show_issuer)
async def remove_issuer(call: Call) -> None:
    issuer: models.TrustedIssuer = call.current
    await registration.remove(issuer.id, issuer.updated_at)
