"""`/account/activity`: what happened on the user's account."""

from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import asyncpg
from litestar import Request, Response, get

from idp.audit.repository.own_events import OWN_EVENTS
from idp.http import forms
from idp.http.access import Access
from idp.http.pages import see_other
from idp.infra import i18n
from idp.infra.db.listing import InvalidQueryError, list_page
from idp.infra.geoip import device, place
from idp.infra.i18n import gettext as _
from idp.oauth.clients.documents.identifiers import shown_name
from idp.oauth.clients.registry import registry
from idp.selfservice.account_page import account_page, require_session
from idp.selfservice.activity_sentences import SENTENCES, SHOWN

PATH = "/account/activity"
#: Events of a page.
ROWS = 20


@get(PATH, opt={"access": Access.PAGE})
async def show_activity(request: Request[Any, Any, Any]) -> Response[Any]:
    """Show what users understand of their audit events, the newest first."""
    account = await require_session(request, PATH)
    if isinstance(account, Response):
        return account
    wanted = {"user_id": str(account.user.id), "events": f"{{{','.join(SHOWN)}}}"}
    cursor = forms.query(request).get("cursor")
    try:
        found = await list_page(OWN_EVENTS, wanted, cursor=cursor, limit=ROWS)
    except InvalidQueryError:
        return see_other(PATH)
    zone = ZoneInfo(account.user.zoneinfo or "UTC")
    events = [_shown(row, zone) for row in found.rows if (row["event"], row["outcome"]) in SENTENCES]
    following = f"{PATH}?{urlencode({'cursor': found.next_cursor})}" if found.next_cursor else None
    return account_page(request, "activity", account, events=events, first=cursor is None, next=following)


def _shown(row: asyncpg.Record, zone: ZoneInfo) -> dict[str, Any]:
    return {
        "words": _words(row),
        "by": _by(row["by"]),
        "place": place(row["ip_address"]),
        "device": device(row["user_agent"]) if row["user_agent"] else "",
        "at": row["at"],
        "exact": i18n.moment_in_zone(row["at"], zone),
    }


def _words(row: asyncpg.Record) -> str:
    sentence = SENTENCES[row["event"], row["outcome"]]
    return _(sentence, app=_app(row["client_id"] or ""), organization=row["organization"] or "")


def _app(client_id: str) -> str:
    """Return the name of an application; if it is gone, its id."""
    client = registry.client(client_id)
    return shown_name(client_id, client.client_name) or client_id if client is not None else client_id


def _by(kind: str) -> str:
    """Return who did it, if it was not the user."""
    known = {
        "": "",
        "user": _("by an administrator"),
        "cli": _("by an administrator"),
        "upstream": _("by the provider that you signed in with"),
    }
    return known[kind] if kind in known else _("by an application")


ROUTES = [show_activity]
