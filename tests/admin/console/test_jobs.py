"""Bulk jobs at the console: chosen, confirmed, done by the running server, and cancelled."""

import asyncio
import csv
import re

import httpx
import pytest

from idp import ids
from idp.accounts.repository.users import user_by_id
from idp.accounts.tables import User
from idp.admin.bulk import service
from idp.admin.bulk.kinds import NoParameters, kind_of
from idp.admin.bulk.models import Job, Selection
from idp.admin.roles import Role
from idp.directory import groups
from idp.infra.db.engine import execute, fetch, fetchrow, transaction
from tests.admin.console.conftest import Admin
from tests.conftest import MakeUser
from tests.support.browser import Page, as_page
from tests.support.server import TLS


async def _ended(admin: Admin, page: Page) -> Page:
    """Load the page of a job again until the job has ended, as the page itself does."""
    path = page.path
    async with asyncio.timeout(30):
        while 'http-equiv="refresh"' in (page := await admin.get(path)).text:
            await asyncio.sleep(0.05)
    return page


async def _job(page: Page) -> Job:
    found = re.search(r"/admin/jobs/([0-9a-f-]{36})", page.path)
    assert found is not None, page.text
    row = await fetchrow("SELECT id FROM bulk_job WHERE id = $1", found[1])
    assert row is not None
    return await service.found(row["id"])


async def _is_disabled(user: User) -> bool:
    found = await user_by_id(user.id)
    assert found is not None
    return found.disabled_at is not None


@pytest.fixture
async def stopped() -> Job:
    """A job that no server works on, because it is cancelled."""
    async with transaction():
        job = await service.create(None, kind_of("enable"), NoParameters(), Selection(names=("x@example.com",)))
        return await service.cancel(job.id, None)


async def test_ticked_users_are_disabled_after_a_confirmation(owner: Admin, make_user: MakeUser) -> None:
    mark = ids.random_token()[:8].lower()
    users = [await make_user(name=f"{mark} {n}") for n in range(3)]
    page = await owner.get(f"/admin/users?q={mark}")
    (form,) = [form for form in page.forms if form.action == "/admin/jobs/new"]
    assert page.text.count('name="pick.') == 3
    picks = {f"pick.{user.id}": "on" for user in users[:2]}
    asked = as_page(await owner.browser.get(form.action, kind="disable", who="ticked", q=mark, **picks))
    assert "Disable: 2 users?" in asked.text
    assert "The users cannot sign in. Their sessions and tokens end." in asked.text
    assert "Enable the same users." in asked.text
    assert not await _is_disabled(users[0])
    begun = as_page(await owner.browser.submit(asked, "confirm"))
    assert "The job is queued." in begun.text
    ended = await _ended(owner, begun)
    assert 'value="2" max="2"' in ended.text
    assert "finished" in ended.text
    assert owner.user.email in ended.text
    assert [await _is_disabled(user) for user in users] == [True, True, False]
    assert (await _job(ended)).actor == f"user:{owner.user.id}"
    listed = await owner.get("/admin/jobs?kind=disable&state=finished")
    assert ended.path in listed.text


async def test_all_that_match_are_added_to_a_group(owner: Admin, make_user: MakeUser) -> None:
    mark = ids.random_token()[:8].lower()
    for n in range(3):
        await make_user(name=f"{mark} {n}")
    group = await groups.create(f"Staff {mark}")
    query = {"kind": "add_to_group", "who": "all", "q": mark}
    without = as_page(await owner.browser.get("/admin/jobs/new", **query))
    assert without.status == 400
    asked = as_page(await owner.browser.submit(without, "confirm", kind="add_to_group", group=group.name))
    assert "Add to a group: 3 users?" in asked.text
    assert f"q = {mark}" in asked.text
    ended = await _ended(owner, as_page(await owner.browser.submit(asked, "confirm")))
    assert group.name in ended.text
    assert len(await fetch("SELECT FROM group_member WHERE group_id = $1", group.id)) == 3


async def test_a_deletion_needs_the_number(owner: Admin, make_user: MakeUser) -> None:
    users = [await make_user() for _ in range(2)]
    chosen = await owner.get("/admin/jobs/new")
    names = f"{users[0].email}\n{users[1].id}\nnobody@example.com"
    asked = as_page(await owner.browser.submit(chosen, "confirm", kind="delete", names=names))
    assert "Enter 3 to confirm." in asked.text
    assert "This cannot be undone." in asked.text
    for wrong in ("2", "", "all"):
        refused = as_page(await owner.browser.submit(asked, "confirm", expected=wrong))
        assert refused.status == 400
        assert await user_by_id(users[0].id) is not None
    ended = await _ended(owner, as_page(await owner.browser.submit(asked, "confirm", expected="3")))
    assert "There is no such user." in ended.text
    assert [await user_by_id(user.id) for user in users] == [None, None]
    exported = await owner.browser.client.get(f"{owner.browser.issuer}{ended.path}/export/csv")
    assert exported.headers["content-type"] == "text/csv; charset=utf-8"
    assert list(csv.reader(exported.text.splitlines())) == [
        ["number", "user", "reason"],
        ["3", "nobody@example.com", "There is no such user."],
    ]


async def test_users_who_came_meanwhile_must_be_confirmed(owner: Admin, make_user: MakeUser) -> None:
    mark = ids.random_token()[:8].lower()
    await make_user(name=mark)
    asked = as_page(await owner.browser.get("/admin/jobs/new", kind="disable", who="all", q=mark))
    await make_user(name=mark)
    again = as_page(await owner.browser.submit(asked, "confirm"))
    assert again.status == 400
    assert "The selection has 2 users now." in again.text
    assert "Disable: 2 users?" in again.text
    begun = as_page(await owner.browser.submit(again, "confirm"))
    assert (await _job(await _ended(owner, begun))).total == 2


async def test_a_job_is_cancelled_and_resumed(owner: Admin, stopped: Job) -> None:
    path = f"/admin/jobs/{stopped.id}"
    page = await owner.get(path)
    assert "cancelled" in page.text
    assert 'http-equiv="refresh"' not in page.text
    assert f"{path}/cancel" not in page.text
    assert "The job has ended." in (await owner.confirm(f"{path}/cancel")).text
    resumed = await owner.confirm(f"{path}/resume")
    assert "The job is queued again." in resumed.text
    ended = await _ended(owner, resumed)
    assert (await service.found(stopped.id)).actor == f"user:{owner.user.id}"
    assert f"{path}/resume" not in ended.text
    # One that waits: no server works on it before its lease is over.
    await execute(
        "UPDATE bulk_job SET state = 'running', finished_at = NULL, done = 0, leased_until = now() + interval '1 hour'"
        " WHERE id = $1", stopped.id,
    )  # fmt: skip
    waiting = await owner.get(path)
    assert '<meta http-equiv="refresh" content="3">' in waiting.text
    assert 'http-equiv="refresh"' not in (await owner.get(f"{path}?still=1")).text
    assert "The job is cancelled." in (await owner.confirm(f"{path}/cancel")).text


async def test_who_may_start_which_job(admins: dict[Role, Admin], make_user: MakeUser, stopped: Job) -> None:
    user = await make_user()
    query = {"who": "ticked", f"pick.{user.id}": "on", "group": "None"}
    for role, allowed in (
        (Role.AUDITOR, set()),
        (Role.SUPPORT, {"disable", "enable", "sign_out", "delete"}),
        (Role.GROUP_ADMIN, {"add_to_group", "remove_from_group"}),
    ):
        for kind in ("disable", "enable", "sign_out", "delete", "add_to_group", "remove_from_group"):
            page = as_page(await admins[role].browser.get("/admin/jobs/new", kind=kind, **query))
            assert (page.status == 403) is (kind not in allowed), (role, kind)
        page = await admins[role].get("/admin/users")
        assert ('name="pick.' in page.text) is bool(allowed)
    page = await admins[Role.AUDITOR].get(f"/admin/jobs/{stopped.id}")
    assert page.status == 200
    assert "/resume" not in page.text
    assert (await admins[Role.AUDITOR].confirm(f"/admin/jobs/{stopped.id}/resume")).status == 403
    assert (await admins[Role.OWNER].get("/admin/jobs/new?kind=promote")).status == 404
    assert (await admins[Role.OWNER].get(f"/admin/jobs/{ids.uuid7()}")).status == 404
    assert (await admins[Role.OWNER].get("/admin/jobs/x")).status == 404
    assert not await _is_disabled(user)


async def _upload(admin: Admin, content: bytes, **fields: str) -> Page:
    page = await admin.get("/admin/jobs/import")
    (form,) = [form for form in page.forms if form.action == "/admin/jobs/import"]
    response = await admin.browser.client.post(
        f"{admin.browser.issuer}{form.action}", data=form.fields | fields,
        files={"file": ("users.csv", content, "text/csv")}, headers={"Origin": admin.browser.issuer},
    )  # fmt: skip
    if response.status_code == 303:
        return await admin.get(response.headers["location"])
    return Page(response)


async def test_a_file_is_imported(owner: Admin) -> None:
    """Larger than other forms may be."""
    mark = ids.random_token()[:8].lower().replace("_", "x").replace("-", "x")
    lines = [f"{mark}{n}@example.com,Imported {'x' * 500}" for n in range(200)]
    content = "\n".join(["email,name", *lines, "no address,Nobody"]).encode()
    assert len(content) > 100_000
    checked = await _ended(owner, await _upload(owner, content, dry_run="on"))
    assert "Only checked" in checked.text
    assert (await _job(checked)).changed == 200
    assert await fetch("SELECT FROM users WHERE starts_with(email, $1)", mark) == []
    ended = await _ended(owner, await _upload(owner, content))
    assert 'value="201" max="201"' in ended.text
    assert "no address" in ended.text
    assert len(await fetch("SELECT FROM users WHERE starts_with(email, $1)", mark)) == 200


async def test_a_file_that_cannot_be_imported(owner: Admin, admins: dict[Role, Admin]) -> None:
    for content, reason in ((b"", "Choose a file."), (b"emial\nx", "Did you mean email?"), (b"email\n", "No user")):
        page = await _upload(owner, content)
        assert (page.status, reason in page.text) == (400, True), page.text
    issuer = owner.browser.issuer
    large = {"file": ("users.csv", b"x" * 200_000, "text/csv")}
    for role, status in ((Role.OWNER, 400), (Role.GROUP_ADMIN, 413)):
        # Without the token of the form; of others, so much is not even read.
        answer = await admins[role].browser.client.post(
            f"{issuer}/admin/jobs/import", files=large, headers={"Origin": issuer}
        )
        assert answer.status_code == status
    async with httpx.AsyncClient(verify=TLS) as stranger:
        answer = await stranger.post(f"{issuer}/admin/jobs/import", files=large, headers={"Origin": issuer})
        assert answer.status_code == 413
        for path in ("jobs/new", "mail_templates/welcome"):
            answer = await stranger.post(f"{issuer}/admin/{path}", data={"x": "y" * 80_000}, headers={"Origin": issuer})
            assert answer.status_code == 413
