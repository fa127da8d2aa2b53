"""The form for a new webhook."""

from uuid import UUID

from idp.events import webhooks
from idp.events.kinds import ALL
from idp.infra.db.engine import fetch
from tests.admin.console.conftest import Admin

NEW = "/admin/webhooks/new"


async def test_events_are_chosen(owner: Admin) -> None:
    refused = await owner.confirm(NEW, url="https://receiver.example/console", description="Mine")
    assert refused.status == 400
    refused = await owner.confirm(
        NEW, url="ftp://receiver.example", **{"kinds:user_deleted": "on", f"kinds:{ALL}": "on"}
    )
    (form,) = (form for form in refused.forms if "confirm" in form.buttons)
    assert {name for name in form.fields if name.startswith("kinds:")} == {"kinds:user_deleted", f"kinds:{ALL}"}
    chosen = {"kinds:key_revoked": "on", "kinds:user_deleted": "on"}
    shown = await owner.confirm(NEW, url="https://receiver.example/console", description="Mine", **chosen)
    assert "whsec_" in shown.text
    (row,) = await fetch("SELECT id, kinds, whole FROM webhook WHERE url = 'https://receiver.example/console'")
    assert (list(row["kinds"]), row["whole"]) == (["key_revoked", "user_deleted"], False)
    await webhooks.remove(UUID(str(row["id"])))
