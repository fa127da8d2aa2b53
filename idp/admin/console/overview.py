"""`/admin`: the overview."""

import asyncio
from datetime import timedelta
from typing import Any

from litestar import Response

from idp import __version__, clock
from idp.accounts.repository.admin_roles import count_owners
from idp.accounts.repository.users import count_users
from idp.admin.console import health
from idp.admin.console.components import Cell, facts, when
from idp.admin.console.screen import HOME, AdminRequest, render, screen
from idp.admin.roles import Permission
from idp.audit import activity
from idp.audit.repository.audit_checkpoints import last_checkpoint
from idp.delivery.repository import DeliveryCounts, count_deliveries
from idp.doctor.models import Level
from idp.keys import lifecycle, propagation
from idp.keys.lifecycle import State
from idp.mail.repository import MailCounts, count_mails
from idp.mail.templates.checks import problems
from idp.oauth.clients.repository import count_enabled_clients
from idp.oauth.response_types import IMPLICIT
from idp.oauth.token.grants import GRANTS
from idp.settings import settings

HOURS = 24
#: Levels of findings that are counted, the worst first.
_LEVELS = (Level.ERROR, Level.WARNING, Level.NOTE)
#: Height of the highest bar, in pixels.
HEIGHT = 44


@screen("GET", "", None)
async def overview(request: AdminRequest) -> Response[str]:
    await activity.write()  # Includes events that this worker has not written yet.
    users, mails, sent = await count_users(), await count_mails(), await count_deliveries()
    keys = [key for key in await lifecycle.list_keys() if key.state in (State.ACTIVE, State.PENDING)]
    allowed = request.caller.allowed

    def linked(text: str, path: str, permission: Permission) -> Cell:
        return Cell(text, f"{HOME}/{path}" if permission in allowed else None)

    number = f"about {users.number:,}" if users.estimated else f"{users.number:,}"
    shown: dict[str, Any] = {
        "Users": linked(number, "users", Permission.USERS_READ),
        "Clients": linked(f"{await count_enabled_clients():,}", "clients", Permission.CLIENTS_READ),
        "Mail waiting": linked(str(mails.waiting), "outbox?state=deferred", Permission.OUTBOX_READ),
        "Deliveries waiting": linked(str(sent.waiting), "deliveries", Permission.OUTBOX_READ),
        **{f"{key.alg} key, {key.state}": linked(key.kid, f"keys/{key.kid}", Permission.KEYS_READ) for key in keys},
        "Mail server": linked(
            "configured" if settings().sends_mail else "not configured", "settings?q=smtp", Permission.SETTINGS_READ
        ),
        **await _health(request),
        **await _trail(request),
        "Version": __version__,
    }
    return render(
        request,
        "overview",
        heading="Overview",
        charts=await _charts(),
        warnings=await _warnings(request, mails, sent, keys),
        facts=facts(shown),
    )


async def _health(request: AdminRequest) -> dict[str, Cell]:
    """Return what `idp doctor` finds without calling other servers."""
    if Permission.SETTINGS_READ not in request.caller.allowed:
        return {}
    found = await health.counts(request.caller.allowed)
    said = [f"{found[level]} {level}{'' if found[level] == 1 else 's'}" for level in _LEVELS if found[level]]
    return {"Health": Cell(", ".join(said) or "all checks pass", f"{HOME}/health")}


async def _trail(request: AdminRequest) -> dict[str, Cell]:
    if Permission.AUDIT_READ not in request.caller.allowed:
        return {}
    last = await last_checkpoint()
    return {"Last checkpoint of the audit trail": when(last.at if last else None)}


async def _charts() -> list[dict[str, Any]]:
    kinds = {
        "Sign-ins": ["sign_in:success"],
        "Failed sign-ins": ["sign_in:failure", "sign_in:denied"],
        "Tokens issued": [f"token:{grant}" for grant in (*GRANTS, IMPLICIT)],
    }
    series = await activity.series([kind for each in kinds.values() for kind in each], HOURS)
    now = clock.now()
    starts = [now - timedelta(hours=before) for before in range(HOURS - 1, -1, -1)]
    charts = []
    for title, names in kinds.items():
        hours = [sum(counts) for counts in zip(*(series[name] for name in names), strict=True)]
        highest = max(1, *hours)
        bars = [max(round(HEIGHT * number / highest), 1 if number else 0) for number in hours]
        values = list(zip((f"{each:%H:00}" for each in starts), hours, bars, strict=True))
        charts.append({"title": title, "total": sum(hours), "highest": highest, "hours": values})
    return charts


async def _warnings(
    request: AdminRequest, mails: MailCounts, sent: DeliveryCounts, keys: list[lifecycle.KeyInfo]
) -> list[tuple[str, str, bool]]:
    """Return sentences with a link, and whether something fails now."""
    found, allowed = [], request.caller.allowed
    if not settings().sends_mail:
        href = f"{HOME}/settings?q=smtp" if Permission.SETTINGS_READ in allowed else HOME
        found.append(("Mail is not configured (IDP_SMTP_URL): codes, resets and invitations are not sent.", href, True))
    if mails.dead and Permission.OUTBOX_READ in allowed:
        found.append((f"{mails.dead} mails of the last day could not be sent.", f"{HOME}/outbox?state=dead", True))
    if Permission.MAIL_TEMPLATES_READ in allowed:
        for name, where, reason in await asyncio.to_thread(problems):
            text = f"The mail template {name} {where} is not used: {reason}"
            found.append((text, f"{HOME}/mail_templates/{name}", True))
    if sent.dead and Permission.OUTBOX_READ in allowed:
        found.append((f"{sent.dead} deliveries were given up within a day.", f"{HOME}/deliveries?state=dead", True))
    if request.caller.owner and await count_owners() == 1:
        text = (
            "There is only one owner. If that account is lost, no one can administer this server. Add a second owner."
        )
        found.append((text, f"{HOME}/admins", False))
    if Permission.KEYS_READ in allowed:
        for key in keys:
            waited = (clock.now() - key.created_at) / timedelta(hours=1)
            if key.state == State.PENDING and waited >= 1 and (unseen := await propagation.unseen(key.kid)):
                text = f"A new {key.alg} key has waited {waited:.0f} h for {', '.join(unseen[:3])}."
                found.append((text, f"{HOME}/keys/{key.kid}", False))
    return found
