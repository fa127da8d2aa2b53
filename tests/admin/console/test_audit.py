"""The audit trail in the console: users and clients by name, choices instead of free text."""

from urllib.parse import quote

from idp.accounts.tables import User
from idp.audit.events import record
from idp.infra.db.engine import transaction
from tests.admin.console.conftest import Admin
from tests.conftest import MakeClient


async def test_events_name_users_and_clients(owner: Admin, alice: User, make_client: MakeClient) -> None:
    client = await make_client(client_name="Named in the trail")
    async with transaction():
        await record("consent", user_id=alice.id, client_id=client.client_id)
    await owner.confirm(f"/admin/users/{alice.id}/sign_out")
    for user in (alice.email, str(alice.id)):
        text = (await owner.get(f"/admin/audit?user={quote(user)}")).text
        assert f'<a href="/admin/users/{alice.id}">{alice.email}</a>' in text
        assert f'<a href="/admin/users/{owner.user.id}">{owner.user.email}</a>' in text  # who did it
        assert f'href="/admin/clients/{client.client_id}">Named in the trail</a>' in text


async def test_an_unknown_user_has_no_events(owner: Admin) -> None:
    for user in ("nobody@example.com", "no address@", "no-id"):
        page = await owner.get(f"/admin/audit?user={quote(user)}")
        assert page.status == 200
        assert "Nothing matches." in page.text


async def test_filters_are_choices(owner: Admin) -> None:
    page = await owner.get("/admin/audit?event=key_activated")
    assert '<option value="key_activated" selected>key activated</option>' in page.text
    assert '<option value="webhook_removed">' in page.text
    assert '<details class="more">' in page.text
    later = await owner.get("/admin/audit?since=2999-01-01T00:00")
    assert '<details class="more" open>' in later.text
    assert "Nothing matches." in later.text
    assert "Nothing matches." in (await owner.get("/admin/audit?until=2001-01-01")).text


async def test_the_overview_has_its_numbers_as_a_table(owner: Admin) -> None:
    page = await owner.get("/admin")
    assert page.text.count("<rect") == 3 * 24
    assert page.text.count('<td data-label="Sign-ins">') == 24
    assert 'href="/admin/users"' in page.text
