"""`/admin`: the overview."""

from typing import Any

from litestar import Response

from idp import clock
from idp.admin.console.components import Cell, facts
from idp.admin.console.screen import HOME, AdminRequest, render, screen
from idp.admin.roles import Permission
from idp.audit import activity
from idp.infra.db.engine import fetch
from idp.keys import lifecycle, propagation
from idp.keys.lifecycle import State
from idp.oauth.token.grants import GRANTS
from idp.settings import settings

HOURS = 24
#: Height of the highest bar, in pixels.
HEIGHT = 44

_STATE = """
SELECT (SELECT count(*) FROM (SELECT FROM users LIMIT 10001) AS u) AS users,
       (SELECT reltuples::bigint FROM pg_class WHERE oid = 'users'::regclass) AS many,
       (SELECT count(*) FROM client WHERE disabled_at IS NULL) AS clients,
       (SELECT count(*) FROM (SELECT FROM mail WHERE next_attempt_at IS NOT NULL LIMIT 1000) AS m) AS waiting,
       (SELECT count(*) FROM (SELECT FROM mail WHERE state = 'dead' AND created_at > now() - interval '1 day'
                              LIMIT 1000) AS m) AS dead,
       (SELECT count(*) FROM admin_role WHERE role = 'owner') AS owners
"""


@screen("GET", "", None)
async def overview(request: AdminRequest) -> Response[str]:
    await activity.write()  # Includes events that this worker has not written yet.
    (state,) = await fetch(_STATE)
    keys = [key for key in await lifecycle.list_keys() if key.state in (State.ACTIVE, State.PENDING)]
    shown: dict[str, Any] = {
        # Large tables are estimated, not counted, so that the page stays fast.
        "Users": f"{state['users']:,}" if state["users"] <= 10_000 else f"about {state['many']:,}",
        "Clients": f"{state['clients']:,}",
        "Mail waiting": str(state["waiting"]),
    }
    for key in keys:
        mood = "good" if key.state == State.ACTIVE else "plain"
        shown[f"{key.alg} key {key.kid[:8]}…"] = Cell(key.state, mood=mood)
    return render(
        request,
        "overview",
        heading="Overview",
        charts=await _charts(),
        warnings=await _warnings(request, state, keys),
        facts=facts(shown),
    )


async def _charts() -> list[dict[str, Any]]:
    kinds = {
        "Sign-ins": ["sign_in:success"],
        "Failed sign-ins": ["sign_in:failure", "sign_in:denied"],
        "Tokens issued": [f"token:{grant}" for grant in GRANTS],
    }
    series = await activity.series([kind for each in kinds.values() for kind in each], HOURS)
    charts = []
    for title, names in kinds.items():
        hours = [sum(counts) for counts in zip(*(series[name] for name in names), strict=True)]
        highest = max(1, *hours)
        bars = [max(round(HEIGHT * number / highest), 1 if number else 0) for number in hours]
        charts.append({"title": title, "total": sum(hours), "bars": bars})
    return charts


async def _warnings(request: AdminRequest, state: Any, keys: list[lifecycle.KeyInfo]) -> list[tuple[str, str]]:
    found = []
    if not settings().sends_mail:
        href = f"{HOME}/settings" if Permission.SETTINGS_READ in request.caller.allowed else HOME
        found.append(("Mail is not configured (IDP_SMTP_URL): codes, resets and invitations do not leave.", href))
    if state["dead"] and Permission.OUTBOX_READ in request.caller.allowed:
        found.append((f"{state['dead']} mails of the last day could not be sent.", f"{HOME}/outbox?state=dead"))
    if state["owners"] == 1 and request.caller.owner:
        found.append(("There is one owner. If that account is lost, so is the way in. Add another.", f"{HOME}/admins"))
    if Permission.KEYS_READ in request.caller.allowed:
        for key in keys:
            if key.state == State.PENDING and (unseen := await propagation.unseen(key.kid)):
                waited = (clock.now() - key.created_at).total_seconds() / 3600
                text = f"A new {key.alg} key has waited {waited:.0f} h for {', '.join(unseen[:3])}."
                found.append((text, f"{HOME}/keys/{key.kid}"))
    return found
