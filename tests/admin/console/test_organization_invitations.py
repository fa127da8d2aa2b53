"""Invitations into organizations in the console."""

import secrets

from idp.directory import invitations
from tests.admin.console.conftest import Admin
from tests.support.browser import as_page
from tests.support.directory import a_role_in, an_organization
from tests.support.mailbox import Mailbox


async def test_an_invitation_is_sent_sent_again_and_revoked(owner: Admin, mailbox: Mailbox) -> None:
    organization = await an_organization()
    editor, reader = await a_role_in(organization), await a_role_in(organization)
    path, email = f"/admin/organizations/{organization.id}/invitations", f"{secrets.token_hex(6)}@example.com"
    assert path in (await owner.get(f"/admin/organizations/{organization.id}")).text
    page = await owner.get(path)
    (form,) = (form for form in page.forms if form.action == path and "csrf_token" in form.fields)
    chosen = {"csrf_token": form.fields["csrf_token"], f"role_{editor.id}": "on", "admin": "on"}
    refused = as_page(await owner.browser.post(path, chosen | {"email": "<b>nobody"}))
    assert refused.status == 400
    assert "&lt;b&gt;nobody" in refused.text
    page = as_page(await owner.browser.post(path, chosen | {"email": email.upper()}))
    assert "The invitation was sent." in page.text
    assert editor.name in page.text
    assert reader.name not in page.text
    letter = await mailbox.next(email)
    assert letter.link.partition("token=")[2] not in page.text
    assert owner.user.email in page.text
    row = await invitations.of_address(organization.id, email)
    assert (row.role_ids, row.admin, row.invited_by) == ([editor.id], True, owner.user.id)
    assert page.path == f"{path}/{row.id}"
    assert "invited already" in as_page(await owner.browser.post(path, chosen | {"email": email})).text
    await owner.confirm(f"{page.path}/resend")
    await mailbox.next(email, 2)
    assert email in (await owner.get(f"{path}?open=true")).text
    page = await owner.confirm(f"{path}/{row.id}/revoke")
    assert "revoked" in page.text
    assert "Send again" not in page.text
    assert (await owner.confirm(f"{path}/{row.id}/revoke")).status == 400
    assert email not in (await owner.get(f"{path}?open=true")).text
