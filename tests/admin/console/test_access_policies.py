"""The console: who may use a client."""

import secrets

from idp.accounts.tables import User
from idp.directory import groups, organizations, roles
from idp.oauth.access_policies.repository import policy_of
from idp.oauth.clients.registration import register_client
from tests.admin.console.conftest import Admin
from tests.support.browser import as_page


async def test_from_everybody_to_a_few(owner: Admin, alice: User) -> None:
    name = secrets.token_hex(6)
    group = await groups.create(f"Staff {name}")
    organization = await organizations.create(f"contoso-{name}", "Contoso")
    role = await roles.create(f"editor {name}")
    client, _ = await register_client(client_name="Payroll", redirect_uris=["https://payroll.example/cb"])
    path = f"/admin/clients/{client.client_id}/access"
    assert "everyone" in (await owner.get(f"/admin/clients/{client.client_id}")).text
    assert "Everyone may use it." in (await owner.get(path)).text
    form = {
        "groups": f"staff {name}\n", "organizations": str(organization.id), "roles": f"editor {name}",
        "networks": "192.0.2.0/24\n2001:db8::/32", "times": "mon-fri 08:00-18:00", "time_zone": "Europe/Berlin",
        "acr": "2",
    }  # fmt: skip
    for wrong in (
        {"groups": "none-such"}, {"networks": "all"}, {"times": "always"}, {"attributes": "x=y"}, {"acr": "9"},
        {"time_zone": "Mars/Olympus"}, dict.fromkeys(form, ""),
    ):  # fmt: skip
        answer = await owner.confirm(f"{path}/change", **(form | wrong))
        assert answer.status == 400, wrong
    answer = await owner.confirm(f"{path}/change", **form)
    for text in (f"Staff {name}", f"contoso-{name}", "192.0.2.0/24", "08:00-18:00 (Europe/Berlin)", "Saved."):
        assert text in answer.text
    saved = await policy_of(client.client_id)
    assert saved is not None
    assert (saved.groups, saved.organizations, saved.roles, saved.acr) == (
        (group.id,), (organization.id,), (role.id,), "2",
    )  # fmt: skip
    page = await owner.get(f"{path}/change")
    assert f"Staff {name}" in page.text
    # Two administrators at the same time: the second one sees what the first one saved.
    await owner.browser.submit(page, "confirm", **(form | {"acr": ""}))
    again = as_page(await owner.browser.submit(page, "confirm", **(form | {"acr": "phr"})))
    assert (again.status, "changed by another user" in again.text) == (400, True)
    answer = await owner.get(f"{path}?user={alice.email}&address=198.51.100.1&at=2026-12-20T12:00&acr=1")
    for text in ("may not use it", "no: not in group", "no: not in organization", "no: without role"):
        assert text in answer.text
    assert "no: outside of network" in answer.text
    assert "no: outside of time" in answer.text
    await groups.add_members(group.id, [alice.id])
    await organizations.add_members(organization.id, [alice.id])
    await roles.give(role.id, [alice.id])
    answer = await owner.get(f"{path}?user={alice.id}&address=192.0.2.1&at=2026-12-21T12:00")
    assert "may use it" in answer.text
    assert "no:" not in answer.text
    for unreadable in ("nobody@example.com", "x", "@"):
        assert "There is no such user." in (await owner.get(f"{path}?user={unreadable}")).text
    answer = await owner.confirm(f"/admin/clients/{client.client_id}/remove_access_policy")
    assert "Everyone may use it." in answer.text
    assert await policy_of(client.client_id) is None
