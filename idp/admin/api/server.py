"""Operations on keys, upstreams, the audit trail and settings, and ``whoami``."""

from http import HTTPStatus

import asyncpg
import msgspec

from idp.admin.api.models import server as models
from idp.admin.api.models.base import reader
from idp.admin.api.operation import Call, Result, listed, not_found, one, operation
from idp.admin.api.problems import OutdatedError, ProblemError
from idp.admin.configuration import settings_in_effect
from idp.admin.incidents import Report, contain_key, contain_upstream
from idp.admin.roles import Permission
from idp.audit.repository.audit_events import EVENTS
from idp.federation import checks, registry
from idp.federation.repository import UPSTREAMS
from idp.keys import lifecycle, propagation
from idp.keys.lifecycle import KeyInfo
from idp.keys.repository.signing_keys import KEYS, StoredKey

_read_event = reader(models.AuditEvent, "detail")


def _read_upstream(row: asyncpg.Record) -> models.Upstream:
    config = msgspec.json.decode(row["config"])
    config.pop("client_secret", None)
    return msgspec.convert(dict(row) | {"config": config}, models.Upstream)


def _read_key(row: asyncpg.Record) -> KeyInfo:
    return lifecycle.info(msgspec.convert(dict(row), StoredKey))


listed("/keys", Permission.KEYS_READ, "List signing keys", listing=KEYS, read=_read_key, item=KeyInfo)
listed(
    "/upstreams",
    Permission.UPSTREAMS_READ,
    "List upstreams",
    listing=UPSTREAMS,
    read=_read_upstream,
    item=models.Upstream,
)
listed("/audit", Permission.AUDIT_READ, "List audit events", listing=EVENTS, read=_read_event, item=models.AuditEvent)


@operation("GET", "/me", None, "Show the caller and its permissions", content=models.WhoAmI)
async def who_am_i(call: Call) -> models.WhoAmI:
    caller = call.caller
    return models.WhoAmI(actor=caller.actor, roles=sorted(caller.roles), permissions=sorted(caller.allowed))


@operation(
    "GET",
    "/settings",
    Permission.SETTINGS_READ,
    "Show the settings in effect; secrets are masked",
    content=list[models.Setting],
)
async def show_settings(call: Call) -> list[models.Setting]:
    return [models.Setting(**row) for row in settings_in_effect()]


@operation("GET", "/audit/{event_id}", Permission.AUDIT_READ, "Show an audit event", content=models.AuditEvent)
async def show_event(call: Call) -> models.AuditEvent:
    found: models.AuditEvent = await one(EVENTS, _read_event, id=call.params["event_id"])
    return found


@operation(
    "GET",
    "/keys/{kid}",
    Permission.KEYS_READ,
    "Show a key and the resource servers that have fetched it",
    content=models.Key,
)
async def show_key(call: Call) -> models.Key:
    kid = call.params["kid"]
    found = await lifecycle.find_key(kid)
    if found is None:
        raise not_found()
    return models.Key(key=found, witnesses=await propagation.view(kid))


@operation(
    "POST", "/keys", Permission.KEYS_WRITE, "Rotate: publish the next key of an algorithm",
    body=models.Rotation, content=models.Key, status=HTTPStatus.CREATED,
)  # fmt: skip
async def rotate_key(call: Call) -> Result:
    asked: models.Rotation = call.body
    if asked.deadline is not None and not 0 <= asked.deadline <= 365 * 86400:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-body", "The deadline is up to a year.")
    kid = await lifecycle.rotate(asked.alg, asked.size, now=asked.now, deadline=asked.deadline)
    return Result(await _key(kid), HTTPStatus.CREATED, f"/keys/{kid}")


async def _key(kid: str) -> models.Key:
    found = next(key for key in await lifecycle.list_keys() if key.kid == kid)
    return models.Key(key=found, witnesses=await propagation.view(kid))


@operation("POST", "/keys/{kid}/activate", Permission.KEYS_WRITE, "Activate a pending key now", content=models.Key)
async def activate_key(call: Call) -> models.Key:
    key = await show_key(call)
    await lifecycle.activate(key.key.kid, unseen=tuple(await propagation.unseen(key.key.kid)))
    return await show_key(call)


@operation(
    "POST",
    "/keys/{kid}/revoke",
    Permission.KEYS_WRITE,
    "Revoke a key and remove it from the JWKS",
    content=lifecycle.Revocation,
)
async def revoke_key(call: Call) -> lifecycle.Revocation:
    key = await show_key(call)
    return await lifecycle.revoke(key.key.kid)


@operation(
    "POST",
    "/keys/{kid}/contain",
    Permission.KEYS_WRITE,
    "Contain a key: revoke it and report what stays usable",
    content=Report,
)
async def end_all_of_key(call: Call) -> Report:
    return await contain_key(call.params["kid"])


@operation(
    "POST", "/keys/{kid}/destroy", Permission.KEYS_WRITE, "Erase the private part of a retired key", content=models.Key
)
async def destroy_key(call: Call) -> models.Key:
    key = await show_key(call)
    await lifecycle.destroy(key.key.kid)
    return await show_key(call)


@operation("GET", "/upstreams/{upstream_id}", Permission.UPSTREAMS_READ, "Show an upstream", content=models.Upstream)
async def show_upstream(call: Call) -> models.Upstream:
    found: models.Upstream = await one(UPSTREAMS, _read_upstream, id=call.params["upstream_id"])
    return found


@operation(
    "POST", "/upstreams", Permission.UPSTREAMS_WRITE, "Add an upstream",
    body=models.NewUpstream, content=models.Upstream, status=HTTPStatus.CREATED,
)  # fmt: skip
async def add_upstream(call: Call) -> Result:
    upstream = registry.configure(**msgspec.to_builtins(call.body))
    if not await registry.add(upstream):
        raise ProblemError(HTTPStatus.CONFLICT, "id-taken", "An upstream with this id already exists.")
    content = await one(UPSTREAMS, _read_upstream, id=upstream.id)
    return Result(content, HTTPStatus.CREATED, f"/upstreams/{upstream.id}")


@operation(
    "PATCH", "/upstreams/{upstream_id}", Permission.UPSTREAMS_WRITE, "Change an upstream",
    body=models.UpstreamChange, content=models.Upstream, current=show_upstream,
)  # fmt: skip
async def update_upstream(call: Call) -> models.Upstream:
    found: models.Upstream = call.current
    if await registry.update(found.id, found.updated_at, **msgspec.to_builtins(call.body)) is None:
        raise OutdatedError
    return await show_upstream(call)


@operation(
    "DELETE", "/upstreams/{upstream_id}", Permission.UPSTREAMS_WRITE, "Remove an upstream", current=show_upstream
)
async def delete_upstream(call: Call) -> None:
    found: models.Upstream = call.current
    if not await registry.delete(found.id, found.updated_at):
        raise OutdatedError


@operation(
    "POST",
    "/upstreams/{upstream_id}/disable",
    Permission.UPSTREAMS_WRITE,
    "Disable an upstream",
    content=models.Upstream,
)
async def disable_upstream(call: Call) -> models.Upstream:
    await registry.disable(call.params["upstream_id"])
    return await show_upstream(call)


@operation(
    "POST", "/upstreams/{upstream_id}/enable", Permission.UPSTREAMS_WRITE, "Enable an upstream", content=models.Upstream
)
async def enable_upstream(call: Call) -> models.Upstream:
    await registry.enable(call.params["upstream_id"])
    return await show_upstream(call)


@operation(
    "POST",
    "/upstreams/{upstream_id}/test",
    Permission.UPSTREAMS_WRITE,
    "Test an upstream, without a user's sign-in",
    content=models.UpstreamTest,
)
async def test_upstream(call: Call) -> models.UpstreamTest:
    findings = await checks.test(call.params["upstream_id"])
    if findings is None:
        raise not_found()
    shown = [models.UpstreamFinding(text=each.text, passed=each.passed) for each in findings]
    return models.UpstreamTest(passed=checks.passed(findings), findings=shown)


@operation("PUT", "/upstreams", Permission.UPSTREAMS_WRITE, "Set the order of upstreams", body=models.Order)
async def order_upstreams(call: Call) -> None:
    await registry.reorder(call.body.ids)


@operation(
    "POST",
    "/upstreams/{upstream_id}/contain",
    Permission.UPSTREAMS_WRITE,
    "Contain an upstream",
    content=Report,
)
async def end_all_of_upstream(call: Call) -> Report:
    return await contain_upstream(call.params["upstream_id"])
