"""Invitations into organizations, over the admin API."""

import secrets

from idp.directory import invited
from tests.admin.api.conftest import Caller
from tests.admin.api.test_operations import problem
from tests.conftest import MakeUser
from tests.support.directory import a_role_in, an_organization
from tests.support.mailbox import Mailbox


async def test_an_invitation(owner: Caller, mailbox: Mailbox, make_user: MakeUser) -> None:
    organization, other = await an_organization(), await an_organization(name="Other")
    role, theirs = await a_role_in(organization), await a_role_in(other)
    path, email = f"/organizations/{organization.id}/invitations", f"{secrets.token_hex(6)}@example.com"
    made = await owner("POST", path, {"email": email.upper(), "role_ids": [str(role.id)], "admin": True})
    assert made.status_code == 201, made.text
    invitation = made.json()
    one = f"{path}/{invitation['id']}"
    assert made.headers["location"].endswith(one)
    assert (invitation["email"], invitation["state"], invitation["admin"]) == (email, "open", True)
    assert invitation["role_ids"] == [str(role.id)]
    letter = await mailbox.next(email)
    token = letter.link.partition("token=")[2]
    # Whoever has the link can register with the address: only its mail has it.
    assert token not in made.text
    assert organization.name in letter.text
    problem(await owner("POST", path, {"email": email}), 409, "already-invited")
    problem(await owner("POST", path, {"email": "nobody"}), 422, "invalid-email")
    problem(await owner("POST", path, {"email": f"x{email}", "role_ids": [str(theirs.id)]}), 404, "not-found")
    member = await make_user()
    problem(
        await owner("POST", f"/organizations/{other.id}/invitations", {"email": "a\0@example.com"}),
        400,
        "malformed-json",
    )
    await owner("POST", f"/organizations/{organization.id}/members", {"user_ids": [str(member.id)]})
    problem(await owner("POST", path, {"email": member.email}), 409, "already-member")
    sent = await owner("POST", f"{one}/resend")
    assert sent.json()["sent_at"] > invitation["sent_at"]
    again = (await mailbox.next(email, 2)).link.partition("token=")[2]
    assert await invited.by_token(token) is None
    assert again not in sent.text
    (found,) = (await owner("GET", f"{path}?open=true")).json()["items"]
    assert found == sent.json()
    elsewhere = f"/organizations/{other.id}/invitations/{invitation['id']}"
    for method, inside in (
        ("GET", elsewhere),
        ("POST", f"{elsewhere}/resend"),
        ("POST", f"{elsewhere}/revoke"),
        ("GET", f"{path}/x"),
    ):
        problem(await owner(method, inside), 404, "not-found")
    assert (await owner("POST", f"{one}/revoke")).json()["state"] == "revoked"
    problem(await owner("POST", f"{one}/revoke"), 404, "not-found")
    problem(await owner("POST", f"{one}/resend"), 404, "not-found")
    assert (await owner("GET", f"{path}?open=true")).json()["items"] == []
    assert (await owner("POST", f"/organizations/{organization.id}/disable")).status_code == 200
    problem(await owner("POST", path, {"email": email}), 409, "wrong-state")
