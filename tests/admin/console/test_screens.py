"""Every screen of the console: who sees it, and whose forms it takes."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pyotp
import pytest

from idp.admin.console.screen import ROUTES
from idp.admin.roles import PERMISSIONS, Permission, Role
from idp.audit.events import record
from idp.federation import linking, registry
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.keys import lifecycle
from idp.mail import outbox
from idp.oauth.clients.registration import register_client, register_resource_server
from idp.signin.factors import recovery_codes
from idp.signin.transitions import Step
from tests.admin.console.conftest import Desk, open_desk
from tests.conftest import MakeUser
from tests.federation.conftest import until_offered
from tests.support.browser import Browser, Page
from tests.support.oauth import PASSWORD
from tests.support.person import equip
from tests.support.server import Server

SCREENS = [
    (str(method), path, handler.opt["permission"])
    for handler in ROUTES
    for path in handler.paths
    for method in handler.http_methods
]
GETS = sorted({(path, permission) for method, path, permission in SCREENS if method == "GET"}, key=str)
POSTS = sorted({(path, permission) for method, path, permission in SCREENS if method == "POST"}, key=str)


@pytest.fixture(scope="module")
async def records(server: Server, desks: dict[Role, Desk]) -> AsyncIterator[dict[str, str]]:
    """One record of each kind, by the name that paths have for it."""
    client, _ = await register_client(client_name="Shown", redirect_uris=["https://shown.example/cb"])
    shown = await register_resource_server(f"https://{secrets.token_hex(4)}.example", "Shown")
    provider = registry.configure(
        kind="oidc", id=f"u{secrets.token_hex(4)}", name="Shown", issuer="https://op.example.com", client_id="x"
    )
    await registry.add(provider)
    auditor = desks[Role.AUDITOR].user
    await linking.import_identity(auditor.id, "https://op.example.com", secrets.token_hex(4), provider.id)
    await outbox.queue(auditor.email, "welcome", name="Ada")
    await record("shown", user_id=auditor.id)
    rows = {
        "mail_id": await fetchrow("SELECT id FROM mail WHERE recipient = $1", auditor.email),
        "event_id": await fetchrow("SELECT id FROM audit_event WHERE event = 'shown' AND user_id = $1", auditor.id),
        "admin_id": await fetchrow("SELECT id FROM admin_role WHERE user_id = $1", auditor.id),
        "sid": await fetchrow("SELECT id FROM session WHERE user_id = $1", auditor.id),
    }
    found = {name: str(row["id"]) for name, row in rows.items() if row is not None}
    yield found | {
        "user_id": str(auditor.id),
        "client_id": client.client_id,
        "jwks_id": shown.jwks_id,
        "kid": (await lifecycle.list_keys())[0].kid,
        "upstream_id": provider.id,
        "form": "csv",
    }
    await registry.delete(provider.id)
    await until_offered(server.issuer, provider.id, offered=False)


def url(path: str, records: dict[str, str]) -> str:
    kind = "oidc" if "/upstreams/" in path else "web"
    for name, value in (records | {"kind": kind}).items():
        path = path.replace(f"{{{name}:str}}", value)
    assert "{" not in path
    return path


def test_every_screen_names_its_permission() -> None:
    """Only the overview is for whoever has a role at all."""
    assert {path for _, path, permission in SCREENS if permission is None} == {"/admin"}
    assert len(GETS) > 40


@pytest.mark.parametrize("role", Role)
async def test_a_role_sees_what_it_may_and_no_more(
    role: Role, desks: dict[Role, Desk], records: dict[str, str]
) -> None:
    for path, permission in GETS:
        page = await desks[role].get(url(path, records))
        allowed = permission is None or permission in PERMISSIONS[role]
        assert page.status == (200 if allowed else 403), f"{role} {path}: {page.text}"
        if not allowed:
            assert "Your role does not allow this." in page.text


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.OWNER])
async def test_a_role_changes_no_more_than_it_may(role: Role, desks: dict[Role, Desk], records: dict[str, str]) -> None:
    desk = desks[role]
    before = (await fetch("SELECT count(*) FROM audit_event WHERE actor = $1", f"user:{desk.user.id}"))[0]["count"]
    for path, permission in POSTS:
        if permission in PERMISSIONS[role]:
            continue
        answer = await desk.browser.post(url(path, records), {"csrf_token": "x"})
        assert isinstance(answer, Page)
        assert answer.status == 403, f"{role} {path}"
    after = (await fetch("SELECT count(*) FROM audit_event WHERE actor = $1", f"user:{desk.user.id}"))[0]["count"]
    assert after == before


async def test_no_form_of_another_site_is_taken(owner: Desk, records: dict[str, str]) -> None:
    """Attack row 51 (tests/attacks/README.md), for the console: no form of another origin or without its token."""
    for path, _ in POSTS:
        for origin, token in (("https://evil.example", "x"), (None, "x"), ("own", ""), ("own", "x")):
            answer = await owner.browser.post(url(path, records), {"csrf_token": token}, origin=origin)
            assert isinstance(answer, Page)
            assert answer.status == 400, f"{path} {origin}: {answer.text}"
    left = await fetchrow("SELECT disabled_at FROM client WHERE client_id = $1", records["client_id"])
    assert left is not None
    assert left["disabled_at"] is None


async def test_whoever_has_no_role_sees_nothing(server: Server, browser: Browser, records: dict[str, str]) -> None:
    desk = await open_desk(server, browser, None)
    for path, _ in GETS:
        page = await desk.get(url(path, records))
        assert page.status == 403, path
        assert records["user_id"] not in page.text


async def test_a_stranger_is_sent_to_the_sign_in(browser: Browser, records: dict[str, str]) -> None:
    for path, _ in GETS:
        page = await browser.get(url(path, records))
        assert isinstance(page, Page)
        assert "login-submit" in page.ids, path


@pytest.mark.parametrize(
    "path", ["keys/%0d%0aSet-Cookie:%20a=b", "keys/%00", "keys/%C3%BC", "users?q=%0d%0ax", "users?q=%FF"]
)
async def test_the_way_back_is_one_line(path: str, server: Server, browser: Browser) -> None:
    """Whatever the address was, the sign-in comes back to a place of ours."""
    desk = await open_desk(server, browser, Role.OWNER)
    await execute("UPDATE session SET ended_at = now() WHERE user_id = $1", desk.user.id)
    page = await browser.get(f"/admin/{path}")
    assert isinstance(page, Page)
    if page.status == 400:
        return
    step = await browser.sign_in(page, desk.user.email, PASSWORD)
    assert isinstance(step, Page)
    back = await browser.submit(step, "totp-submit", code=await desk.person.otp())
    assert isinstance(back, Page)
    assert back.status in (200, 404)
    assert back.path.startswith("/admin/")
    assert "a" not in browser.cookies


async def test_one_factor_is_not_enough(server: Server, browser: Browser, make_user: MakeUser) -> None:
    """Whoever has no second one gets one on the way."""
    from idp.admin.roles import grant

    user = await make_user()
    await grant(user.id, Role.OWNER)
    page = await browser.get("/admin/keys")
    assert isinstance(page, Page)
    page = await browser.sign_in(page, user.email, PASSWORD)
    assert isinstance(page, Page)
    assert "totp-confirm" in page.ids
    again = await browser.get("/admin/keys")
    assert isinstance(again, Page)
    assert again.path.startswith("/login/")
    secret = page.text.partition('id="totp-secret"')[2].partition(">")[2].partition("<")[0]
    codes = await browser.submit(page, "totp-confirm", code=pyotp.TOTP(secret).now())
    assert isinstance(codes, Page)
    # The first owner too has a way back without the phone.
    assert codes.text.count("<li><code>") == recovery_codes.COUNT
    assert 'href="/admin/keys"' in codes.text
    assert await recovery_codes.count_unused(user.id) == recovery_codes.COUNT


@pytest.mark.parametrize("path", ["/admin/keys/rotate", "/admin/users/{user_id}/delete", "/admin/clients/new/web"])
async def test_what_gives_power_away_needs_a_fresh_sign_in(
    path: str, server: Server, browser: Browser, alice: Any
) -> None:
    """Attack row 49: an hour later the password is asked for once more, and then the same screen comes."""
    desk = await open_desk(server, browser, Role.OWNER)
    await execute("UPDATE session SET auth_time = auth_time - interval '1 hour' WHERE user_id = $1", desk.user.id)
    where = path.replace("{user_id}", str(alice.id))
    if path.endswith("web"):
        page = await desk.get(where)
        answer = await browser.submit(page, "confirm", client_name="X", redirect_uris="https://x.example/cb")
    else:
        answer = await browser.get(where)
    assert isinstance(answer, Page)
    assert "login-submit" in answer.ids
    step = await browser.sign_in(answer, desk.user.email, PASSWORD)
    assert isinstance(step, Page)
    back = await browser.submit(step, "totp-submit", code=await desk.person.otp())
    assert isinstance(back, Page)
    assert back.path == where


async def test_a_role_that_is_taken_ends_at_once(server: Server, browser: Browser) -> None:
    desk = await open_desk(server, browser, Role.SUPPORT)
    assert (await desk.get("/admin/users")).status == 200
    await execute("DELETE FROM admin_role WHERE user_id = $1", desk.user.id)
    assert (await desk.get("/admin/users")).status == 403


async def test_support_does_not_get_at_admins(desks: dict[Role, Desk], make_user: MakeUser) -> None:
    """Attack row 45: whoever resets the second factor of an owner is the owner."""
    support, victim = desks[Role.SUPPORT], desks[Role.AUDITOR].user
    for act in ("disable", "reset_factors", "reset_password", "sign_out", "contain", "delete"):
        answer = await support.confirm(f"/admin/users/{victim.id}/{act}")
        assert answer.status == 403, act
        assert "Only an owner" in answer.text
    other = await make_user()
    await equip(other, support.browser.issuer, [Step.TOTP], two_step=False)
    answer = await support.confirm(f"/admin/users/{other.id}/reset_factors")
    assert "All second factors are removed." in answer.text
    assert not await fetch("SELECT FROM totp WHERE user_id = $1", other.id)


async def test_a_client_admin_does_not_get_at_clients_that_administrate(desks: dict[Role, Desk]) -> None:
    desk = desks[Role.CLIENT_ADMIN]
    client, _ = await register_client(
        client_name="Terraform", grant_types=["client_credentials"], scope=str(Permission.USERS_READ)
    )
    for act in ("rotate_secret", "disable", "contain", "delete", "not_before"):
        answer = await desk.confirm(f"/admin/clients/{client.client_id}/{act}")
        assert answer.status == 403, act
    answer = await desk.confirm(
        "/admin/clients/new/web", client_name="Mine", redirect_uris="https://x.example/cb", scope="admin:keys:write"
    )
    assert answer.status == 403


@pytest.mark.parametrize("kind", ["users", "clients", "keys", "upstreams", "resource_servers", "audit", "outbox"])
@pytest.mark.parametrize("name", ["none", "00000000-0000-7000-8000-000000000000", "%00", "..%2f", "'--"])
async def test_what_is_not_there_is_not_found(owner: Desk, kind: str, name: str) -> None:
    page = await owner.get(f"/admin/{kind}/{name}")
    assert page.status == 404


@pytest.mark.parametrize(
    "query", ["cursor=x", "sort=password_hash", "q=%25", "disabled=maybe", "since=yesterday", "x=1"]
)
@pytest.mark.parametrize("path", ["users", "clients", "audit", "outbox"])
async def test_a_query_that_makes_no_sense_shows_the_list(owner: Desk, path: str, query: str) -> None:
    assert (await owner.get(f"/admin/{path}?{query}")).status == 200
