"""Invitations that wait, consents, the export of users, and the search for names and domains."""

import json
import secrets
from typing import Any
from uuid import UUID

import pytest

from idp.accounts import exports, invitations
from idp.accounts.repository.users import USERS
from idp.accounts.tables import User
from idp.admin.console import user_export
from idp.admin.console.screen import AdminRequest
from idp.admin.console.user_export import FORMATS
from idp.admin.roles import Role
from idp.audit.repository.audit_events import EVENTS
from idp.errors import PermissionDeniedError
from idp.infra.db.engine import authority, fetchrow
from idp.infra.db.listing import list_page
from tests.admin.console.conftest import Admin
from tests.conftest import MakeClient, MakeUser
from tests.support.browser import Browser


async def _invite(email: str) -> tuple[UUID, str]:
    """Return the id of a new invitation, and its token."""
    link = await invitations.invite(email)
    row = await fetchrow("SELECT id FROM invitation WHERE email = $1 AND consumed_at IS NULL", email)
    assert row is not None
    return row["id"], link.rpartition("=")[2]


async def test_a_pending_invitation_is_sent_again_and_revoked(admins: dict[Role, Admin]) -> None:
    support = admins[Role.SUPPORT]
    email = f"{secrets.token_hex(6)}@example.com"
    invitation_id, token = await _invite(email)
    shown = await support.get(f"/admin/invitations?email={email.upper()}")
    assert f'href="/admin/invitations/{invitation_id}"' in shown.text

    assert "was sent" in (await support.confirm(f"/admin/invitations/{invitation_id}/resend")).text
    assert await invitations.find_pending(token) is None
    row = await fetchrow("SELECT count(*) AS n FROM mail WHERE recipient = $1", email)
    assert row is not None
    assert row["n"] == 2

    assert "is revoked" in (await support.confirm(f"/admin/invitations/{invitation_id}/revoke")).text
    assert (await support.get(f"/admin/invitations/{invitation_id}")).status == 404
    assert "No invitation is pending." in (await support.get(f"/admin/invitations?email={email}")).text
    found = await list_page(EVENTS, {"event": "user_invitation_revoked", "actor": f"user:{support.user.id}"}, limit=1)
    assert json.loads(found.rows[0]["detail"]) == {"invitation": str(invitation_id)}
    invited = await list_page(EVENTS, {"event": "user_invited", "actor": f"user:{support.user.id}"}, limit=1)
    assert json.loads(invited.rows[0]["detail"]) == {"invitation": str(invitation_id), "resent": True}


async def test_an_invitation_of_an_address_that_has_an_account_by_now(owner: Admin, make_user: MakeUser) -> None:
    email = f"{secrets.token_hex(6)}@example.com"
    invitation_id, token = await _invite(email)
    await make_user(email=email)
    refused = await owner.confirm(f"/admin/invitations/{invitation_id}/resend")
    assert refused.status >= 400
    # Nothing has changed: the refusal rolls back.
    assert await invitations.find_pending(token) is not None


async def test_a_consent_is_withdrawn(
    admins: dict[Role, Admin], browser: Browser, make_client: MakeClient, alice: User
) -> None:
    party, support = await make_client(), admins[Role.SUPPORT]
    tokens = await party.tokens(browser, alice.email)
    path = f"/admin/users/{alice.id}/consents/{party.client_id}/withdraw"
    assert f'href="{path}"' in (await support.get(f"/admin/users/{alice.id}")).text
    assert "The consent is withdrawn." in (await support.confirm(path)).text
    assert (await party.refresh(tokens["refresh_token"])).status_code == 400
    assert path not in (await support.get(f"/admin/users/{alice.id}")).text


async def test_only_owners_export_users(admins: dict[Role, Admin], make_user: MakeUser) -> None:
    user, owner = await make_user(name="=HYPERLINK(1)"), admins[Role.OWNER]
    for role in (Role.SUPPORT, Role.AUDITOR):
        assert (await admins[role].get("/admin/users/export/csv")).status == 403
    for name in FORMATS:
        assert f"/admin/users/export/{name}" in (await owner.get("/admin/users/export")).text
    lines = [json.loads(line) for line in (await owner.get("/admin/users/export/jsonl")).text.splitlines()]
    (found,) = [line for line in lines if line["sub"] == str(user.id)]
    assert found["email"] == user.email
    assert not any("password" in name or "hash" in name for name in found)
    table = (await owner.get("/admin/users/export/csv")).text
    assert table.startswith("sub,")
    # A spreadsheet must not calculate what a user entered.
    assert ",'=HYPERLINK(1)," in table
    assert (await owner.get("/admin/users/export/pdf")).status == 404
    found_events = await list_page(EVENTS, {"event": "users_exported", "actor": f"user:{owner.user.id}"}, limit=4)
    assert len(found_events.rows) == 4


async def test_an_export_ends_with_its_authority(make_user: MakeUser, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recent sign-in is needed to start, session and role for each page."""
    for _ in range(2):
        await make_user()
    monkeypatch.setattr(exports, "PAGE_SIZE", 1)
    checks: list[str] = []

    async def fresh() -> None:
        checks.append("fresh")

    async def hold() -> None:
        checks.append("hold")
        if len(checks) > 2:
            raise PermissionDeniedError("Your role has been revoked.")

    nothing: Any = None
    request = AdminRequest(nothing, nothing, nothing, {"format": "jsonl"}, {}, {}, {}, hold)
    token = authority.set(fresh)
    try:
        lines = (await user_export.export_users(request)).iterator
        assert await anext(lines)
        with pytest.raises(PermissionDeniedError):
            await anext(lines)
    finally:
        authority.reset(token)
    assert checks == ["fresh", "hold", "hold"]


async def test_names_are_found_without_accents_and_addresses_by_domain(make_user: MakeUser) -> None:
    mark, domain = secrets.token_hex(4), f"{secrets.token_hex(6)}.example"
    user = await make_user(email=f"{mark}@{domain}", name=f"José{mark} López", family_name=f"Ńuñez{mark}")
    for entered in (f"jose{mark} LOPEZ", f"José{mark}", f"nunez{mark}", domain, f"@{domain.upper()}"):
        found = await list_page(USERS, {"q": entered})
        assert [row["id"] for row in found.rows] == [user.id], entered
    # A part of a domain is not one.
    assert not (await list_page(USERS, {"q": domain[1:]})).rows
