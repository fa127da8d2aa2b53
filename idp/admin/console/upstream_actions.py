"""Actions on one upstream."""

from typing import Any

import msgspec
from litestar import Response

from idp.admin.console import actions, reports
from idp.admin.console.actions import ConfirmedAction
from idp.admin.console.components import one
from idp.admin.console.screen import AdminRequest, not_found
from idp.admin.console.upstream_form import SECTION
from idp.admin.incidents import contain_upstream
from idp.admin.roles import Permission
from idp.federation import checks, registry
from idp.federation.repository import UPSTREAMS

_WRITE = Permission.UPSTREAMS_WRITE


async def _disable(_visit: AdminRequest, upstream_id: str) -> tuple[str, str]:
    row = await one(UPSTREAMS, id=upstream_id)
    await registry.disable(row["id"])
    return f"/{SECTION}/{row['id']}", "saved"


async def _enable(_visit: AdminRequest, upstream_id: str) -> tuple[str, str]:
    row = await one(UPSTREAMS, id=upstream_id)
    await registry.enable(row["id"])
    return f"/{SECTION}/{row['id']}", "offered"


async def _contain(_visit: AdminRequest, upstream_id: str) -> Response[Any]:
    row = await one(UPSTREAMS, id=upstream_id)
    return reports.to_report(await contain_upstream(row["id"]))


async def _delete(_visit: AdminRequest, upstream_id: str) -> tuple[str, str]:
    row = await one(UPSTREAMS, id=upstream_id)
    await registry.delete(row["id"])
    return f"/{SECTION}", "deleted"


async def _named(upstream_id: str) -> dict[str, Any]:
    row = await one(UPSTREAMS, id=upstream_id)
    config = msgspec.json.decode(row["config"])
    return {"Name": config["name"], "Id": row["id"], "Issuer": config["issuer"]}


async def _test(_visit: AdminRequest, upstream_id: str) -> tuple[str, str]:
    findings = await checks.test(upstream_id)
    if findings is None:
        raise not_found()
    return f"/{SECTION}/{upstream_id}", "test-passed" if checks.passed(findings) else "test-failed"


actions.declare_actions(
    SECTION,
    "upstream_id",
    _named,
    [
        ConfirmedAction(
            "test", "Test",
            "This server fetches the metadata and keys of the provider, and asks whether it accepts the client id and"
            " the client secret. At a directory it connects, binds and searches. Users notice nothing.",
            _WRITE, _test, danger=False,
        ),
        ConfirmedAction(
            "disable", "Disable", "No one can sign in with this upstream. Existing sessions continue.", _WRITE, _disable
        ),
        ConfirmedAction("enable", "Enable", "Users can sign in with this upstream.", _WRITE, _enable, danger=False),
        ConfirmedAction(
            "contain",
            "Contain",
            "The upstream is disabled, and all sessions and tokens from sign-ins with it end.",
            _WRITE,
            _contain,
        ),
        ConfirmedAction(
            "delete", "Delete", "Linked identities are kept in case the upstream is added again.", _WRITE, _delete
        ),
    ],
)  # fmt: skip
