"""Every screen of the console: the roles that see it, and the roles whose forms it accepts."""

import secrets
from collections.abc import AsyncIterator
from html import unescape
from typing import Any
from uuid import UUID

import pyotp
import pytest

from idp.accounts.attributes import declaration
from idp.accounts.invitations import invite
from idp.admin.bulk import service as bulk
from idp.admin.bulk.kinds import NoParameters, kind_of
from idp.admin.bulk.models import Selection
from idp.admin.console.screen import ROUTES
from idp.admin.roles import PERMISSIONS, Permission, Role
from idp.audit.events import record
from idp.branding import service as branding
from idp.branding.models import SERVER, Owner
from idp.delivery import outbox as delivery_outbox
from idp.directory import domains, invitations, organizations, roles
from idp.events import webhooks
from idp.events.ssf import streams
from idp.events.ssf.changes import CHANGES
from idp.federation import linking, registry
from idp.infra.db.engine import execute, fetch, fetchrow, transaction
from idp.keys import lifecycle
from idp.mail import outbox
from idp.oauth.claims import registration as claim_mappings
from idp.oauth.clients.dynamic import initial_tokens
from idp.oauth.clients.dynamic.ceiling import Ceiling
from idp.oauth.clients.registration import register_client, register_resource_server
from idp.oauth.clients.workloads import registration as workloads
from idp.oauth.details.registration import delete_type, register_type
from idp.oauth.exchange import registration as exchange
from idp.oauth.id_jag import registration as id_jag_policies
from idp.oauth.issuers import registration as trusted_issuers
from idp.oauth.token.token_exchange import GRANT_TYPE
from idp.oauth.token_hook import registration as token_hooks
from idp.provisioning import targets as provisioning_targets
from idp.scim import tokens as scim_tokens
from idp.signin.factors import recovery_codes
from idp.signin.transitions import Step
from tests.admin.console.conftest import TO_TYPE, Admin, delete_directory, make_directory, sign_in_admin
from tests.conftest import MakeUser
from tests.federation.conftest import until_offered
from tests.support.browser import Browser, Page
from tests.support.oauth import PASSWORD
from tests.support.person import equip
from tests.support.server import Server
from tests.support.streams import make_stream
from tests.support.traces import request_of

SCREENS = [
    (str(method), path, handler.opt["permission"])
    for handler in ROUTES
    for path in handler.paths
    for method in handler.http_methods
]
GETS = sorted({(path, permission) for method, path, permission in SCREENS if method == "GET"}, key=str)
POSTS = sorted({(path, permission) for method, path, permission in SCREENS if method == "POST"}, key=str)


async def _job() -> str:
    async with transaction():
        job = await bulk.create(None, kind_of("enable"), NoParameters(), Selection(names=("shown@example.com",)))
        # The server would change it at any time.
        await bulk.cancel(job.id, None)
    return str(job.id)


async def _reports(user_id: UUID, client_id: str, upstream: str) -> dict[str, str]:
    """The event of a containment of each kind, by its section."""
    contained = {"users": "user_contained", "clients": "client_contained", "upstreams": "upstream_contained"}
    detail = {"upstream": upstream, "kid": (await lifecycle.list_keys())[0].kid}
    return {
        f"report of {section}": str(await record(event, user_id=user_id, client_id=client_id, detail=detail))
        for section, event in (contained | {"keys": "key_revoked"}).items()
    }


@pytest.fixture(scope="module")
async def records(  # noqa: PLR0915 -- one record of each kind
    server: Server, admins: dict[Role, Admin]
) -> AsyncIterator[dict[str, str]]:
    """One record of each kind, by the name that paths have for it."""
    client, _ = await register_client(client_name="Shown", redirect_uris=["https://shown.example/cb"])
    shown = await register_resource_server(f"https://{secrets.token_hex(4)}.example", "Shown")
    details = await register_type(
        type=f"shown-{secrets.token_hex(4)}", resource=shown.identifier, title="Shown",
        schema='{"type": "object", "properties": {"type": {}}, "additionalProperties": false}',
    )  # fmt: skip
    token_id, _ = await initial_tokens.create("Shown", Ceiling())
    provider = registry.configure(
        kind="oidc", id=f"u{secrets.token_hex(4)}", name="Shown", issuer="https://op.example.com", client_id="x"
    )
    await registry.add(provider)
    auditor = admins[Role.AUDITOR].user
    await linking.import_identity(auditor.id, "https://op.example.com", secrets.token_hex(4), provider.id)
    workload, _ = await register_client(
        client_name="Shown",
        grant_types=["client_credentials"],
        scope="",
        token_endpoint_auth_method="workload_identity",
    )
    rule = await workloads.add(workload.client_id, issuer="https://cluster.example", subject="system:shown")
    service, _ = await register_client(client_name="Shown", grant_types=[GRANT_TYPE], scope="")
    policy = await exchange.add(service.client_id, mode="delegation", resources=[shown.identifier])
    mapping = await claim_mappings.add(client.client_id, claim="shown", source={"kind": "groups"}, places=["id_token"])
    trusted = await trusted_issuers.add(issuer=f"https://{secrets.token_hex(4)}.example", purposes=["jwt_bearer"])
    assertions = await id_jag_policies.add(
        client.client_id, audience="https://login.example", audience_client_id="shown"
    )
    organization = await organizations.create(f"shown-{secrets.token_hex(4)}", "Shown")
    await organizations.add_members(organization.id, [auditor.id])
    role = await roles.create("Shown", organization_id=organization.id)
    await roles.give(role.id, [auditor.id])
    domain = await domains.claim(organization.id, f"{secrets.token_hex(6)}.example")
    invitation = (await invitations.invite(organization.id, f"{secrets.token_hex(6)}@example.com")).invitation
    attribute = await declaration.declare(
        name=f"a_{secrets.token_hex(4)}", type="string", label={"default": "Shown"}, searchable=True
    )
    directory = await make_directory(auditor.id)
    await outbox.queue(auditor.email, "welcome", name="Ada")
    await record("shown", user_id=auditor.id)
    await invite(invited := f"{secrets.token_hex(6)}@example.com")
    reports = await _reports(auditor.id, client.client_id, provider.id)
    webhook_id, _ = await webhooks.add("https://receiver.example/shown", ["user_deleted"])
    hook_id, _ = await token_hooks.add(client.client_id, "https://receiver.example/hook")
    stream = await make_stream("Shown")
    scim_token_id, _ = await scim_tokens.create("Shown")
    target_id = await provisioning_targets.create("Shown", "https://app.example/scim/v2", "token")
    delivery_id = await delivery_outbox.queue("none", "webhook:shown", {})
    of_client, of_organization = Owner(client_id=client.client_id), Owner(organization_id=organization.id)
    for owner in (SERVER, of_client, of_organization):
        await branding.save(owner, {"ways": ["password"]})
    rows = {
        "mail_id": await fetchrow("SELECT id FROM mail WHERE recipient = $1", auditor.email),
        "event_id": await fetchrow("SELECT id FROM audit_event WHERE event = 'shown' AND user_id = $1", auditor.id),
        "user_invitation_id": await fetchrow("SELECT id FROM invitation WHERE email = $1", invited),
        "admin_id": await fetchrow("SELECT id FROM admin_role WHERE user_id = $1", auditor.id),
        "sid": await fetchrow("SELECT id FROM session WHERE user_id = $1", auditor.id),
    }
    found = {name: str(row["id"]) for name, row in rows.items() if row is not None}
    yield (
        found
        | reports
        | {
            "trace_id": await request_of(auditor.id),
            "user_id": str(auditor.id),
            "webhook_id": str(webhook_id),
            "hook_id": str(hook_id),
            "scim_token_id": str(scim_token_id),
            "target_id": str(target_id),
            "stream_id": str(stream.id),
            "delivery_id": str(delivery_id),
            "mail": "welcome.all",
            "job_id": await _job(),
            "client_id": client.client_id,
            "application_id": client.client_id,
            "organization_id": str(organization.id),
            "domain_id": str(domain.id),
            "invitation_id": str(invitation.id),
            "mapping_id": str(mapping.id),
            "organization_role_id": str(role.id),
            **directory,
            "identity_id": str(rule.id),
            "policy_id": str(policy.id),
            "issuer_id": trusted.id,
            "id_jag_id": str(assertions.id),
            "jwks_id": shown.jwks_id,
            "token_id": str(token_id),
            "type_id": details.id,
            "kid": (await lifecycle.list_keys())[0].kid,
            "upstream_id": provider.id,
            "attribute": attribute.name,
            "form": "csv",
            "operation_id": "create_client",
            "format": "csv",
            "picture": "logo",
            "server_version_id": str((await branding.history(SERVER))[0].id),
            "client_version_id": str((await branding.history(of_client))[0].id),
            "organization_version_id": str((await branding.history(of_organization))[0].id),
        }
    )
    await declaration.delete(attribute.name)
    await webhooks.remove(webhook_id)
    await token_hooks.remove(hook_id)
    await scim_tokens.delete(scim_token_id)
    await provisioning_targets.delete(target_id)
    await streams.delete_any(stream.id)
    await organizations.delete(organization.id)
    await delete_directory(directory)
    await initial_tokens.delete(token_id)
    await trusted_issuers.remove(trusted.id)
    await delete_type(details.id)
    await registry.delete(provider.id)
    await until_offered(server.issuer, provider.id, offered=False)


def url(path: str, records: dict[str, str]) -> str:
    kind = "oidc" if "/upstreams/" in path else "web"
    if "/contained/{event_id" in path:
        path = path.replace("{event_id:str}", records[f"report of {path.split('/')[2]}"])
    role = records["organization_role_id" if "/organizations/" in path else "role_id"]
    for name, value in (records | {"kind": kind, "role_id": role}).items():
        path = path.replace(f"{{{name}:str}}", value)
    assert "{" not in path
    return path


def test_every_screen_declares_its_permission() -> None:
    """Only the overview, and the search and the API by what a role may do, are open to every role."""
    opened = {path for _, path, permission in SCREENS if permission is None}
    assert opened == {"/admin", "/admin/search", "/admin/api_reference", "/admin/api_reference/{operation_id:str}"}
    assert len(GETS) > 40


@pytest.mark.parametrize("role", Role)
async def test_a_role_sees_only_its_screens(role: Role, admins: dict[Role, Admin], records: dict[str, str]) -> None:
    for path, permission in GETS:
        page = await admins[role].get(url(path, records))
        allowed = permission is None or permission in PERMISSIONS[role]
        assert page.status == (200 if allowed else 403), f"{role} {path}: {page.text}"
        if not allowed:
            assert f"No role of your account gives the permission {permission}." in page.text


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.OWNER])
async def test_a_role_changes_only_what_it_may(role: Role, admins: dict[Role, Admin], records: dict[str, str]) -> None:
    admin = admins[role]
    before = (await fetch("SELECT count(*) FROM audit_event WHERE actor = $1", f"user:{admin.user.id}"))[0]["count"]
    for path, permission in POSTS:
        if permission is None or permission in PERMISSIONS[role]:
            continue
        answer = await admin.browser.post(url(path, records), {"csrf_token": "x"})
        assert isinstance(answer, Page)
        assert answer.status == 403, f"{role} {path}"
    after = (await fetch("SELECT count(*) FROM audit_event WHERE actor = $1", f"user:{admin.user.id}"))[0]["count"]
    assert after == before


async def test_forms_of_other_sites_are_refused(owner: Admin, records: dict[str, str]) -> None:
    """Attack row 51 (tests/attacks/README.md), for the console: no form of another origin or without its token."""
    for path, _ in POSTS:
        for origin, token in (("https://evil.example", "x"), (None, "x"), ("own", ""), ("own", "x")):
            answer = await owner.browser.post(url(path, records), {"csrf_token": token}, origin=origin)
            assert isinstance(answer, Page)
            assert answer.status == 400, f"{path} {origin}: {answer.text}"
    left = await fetchrow("SELECT disabled_at FROM client WHERE client_id = $1", records["client_id"])
    assert left is not None
    assert left["disabled_at"] is None


async def test_what_cannot_be_undone_asks_for_the_name(owner: Admin, records: dict[str, str]) -> None:
    """Every page that says so. Another name changes nothing, and the page says what to type."""
    fatal = []
    for path, _ in GETS:
        page = await owner.get(url(path, records))
        if "cannot be undone" in page.text and any("confirm" in form.buttons for form in page.forms):
            fatal.append(path)
            name = TO_TYPE.search(unescape(page.text))
            assert name, path
            for typed in ("", "*", name.group(1).swapcase(), name.group(1)[:-1]):
                refused = await owner.confirm(url(path, records), typed=typed)
                assert refused.status == 400, (path, typed)
                assert "exactly as it is shown" in refused.text
                assert name.group(0) in unescape(refused.text)
    assert len(fatal) >= 9


async def test_a_user_without_a_role_sees_nothing(server: Server, browser: Browser, records: dict[str, str]) -> None:
    admin = await sign_in_admin(server, browser, None)
    for path, _ in GETS:
        page = await admin.get(url(path, records))
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
    """The sign-in returns to one of our own paths, whatever the address was."""
    admin = await sign_in_admin(server, browser, Role.OWNER)
    await execute("UPDATE session SET ended_at = now() WHERE user_id = $1", admin.user.id)
    page = await browser.get(f"/admin/{path}")
    assert isinstance(page, Page)
    if page.status == 400:
        return
    step = await browser.sign_in(page, admin.user.email, PASSWORD)
    assert isinstance(step, Page)
    back = await browser.submit(step, "totp-submit", code=await admin.person.otp())
    assert isinstance(back, Page)
    assert back.status in (200, 404)
    assert back.path.startswith("/admin/")
    assert "a" not in browser.cookies


async def test_one_factor_is_not_enough(server: Server, browser: Browser, make_user: MakeUser) -> None:
    """A user without a second factor sets one up."""
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
    # The first owner can recover without the phone too.
    assert codes.text.count("<li><code>") == recovery_codes.COUNT
    assert 'href="/admin/keys"' in codes.text
    assert await recovery_codes.count_unused(user.id) == recovery_codes.COUNT


@pytest.mark.parametrize("path", ["/admin/keys/rotate", "/admin/users/{user_id}/delete", "/admin/clients/new/web"])
async def test_critical_screens_require_a_recent_sign_in(
    path: str, server: Server, browser: Browser, alice: Any
) -> None:
    """Attack row 49: after an hour the password is required again, and then the same screen is shown."""
    admin = await sign_in_admin(server, browser, Role.OWNER)
    await execute("UPDATE session SET auth_time = auth_time - interval '1 hour' WHERE user_id = $1", admin.user.id)
    where = path.replace("{user_id}", str(alice.id))
    if path.endswith("web"):
        page = await admin.get(where)
        answer = await browser.submit(page, "confirm", client_name="X", redirect_uris="https://x.example/cb")
    else:
        answer = await browser.get(where)
    assert isinstance(answer, Page)
    assert "login-submit" in answer.ids
    step = await browser.sign_in(answer, admin.user.email, PASSWORD)
    assert isinstance(step, Page)
    back = await browser.submit(step, "totp-submit", code=await admin.person.otp())
    assert isinstance(back, Page)
    assert back.path == where


async def test_a_role_that_is_taken_ends_at_once(server: Server, browser: Browser) -> None:
    admin = await sign_in_admin(server, browser, Role.SUPPORT)
    assert (await admin.get("/admin/users")).status == 200
    await execute("DELETE FROM admin_role WHERE user_id = $1", admin.user.id)
    assert (await admin.get("/admin/users")).status == 403


async def test_support_cannot_act_on_admins(admins: dict[Role, Admin], make_user: MakeUser) -> None:
    """Attack row 45: resetting the second factor of an owner would make the caller the owner."""
    support, victim = admins[Role.SUPPORT], admins[Role.AUDITOR].user
    for act in ("disable", "reset_factors", "reset_password", "sign_out", "contain", "delete"):
        answer = await support.confirm(f"/admin/users/{victim.id}/{act}")
        assert answer.status == 403, act
        assert "Only an owner" in answer.text
    other = await make_user()
    await equip(other, support.browser.issuer, [Step.TOTP], two_step=False)
    answer = await support.confirm(f"/admin/users/{other.id}/reset_factors")
    assert "All second factors are removed." in answer.text
    assert not await fetch("SELECT FROM totp WHERE user_id = $1", other.id)


async def test_a_client_admin_cannot_act_on_admin_clients(admins: dict[Role, Admin]) -> None:
    admin = admins[Role.CLIENT_ADMIN]
    client, _ = await register_client(
        client_name="Terraform", grant_types=["client_credentials"], scope=str(Permission.USERS_READ)
    )
    for act in ("rotate_secret", "disable", "contain", "delete", "not_before"):
        answer = await admin.confirm(f"/admin/clients/{client.client_id}/{act}", typed="Terraform")
        assert answer.status == 403, act
    answer = await admin.confirm(
        "/admin/clients/new/web", client_name="Mine", redirect_uris="https://x.example/cb", scope="admin:keys:write"
    )
    assert answer.status == 403


@pytest.mark.parametrize(
    "kind",
    [
        "users",
        "organizations",
        "attributes",
        "groups",
        "roles",
        "clients",
        "keys",
        "upstreams",
        "resource_servers",
        "authorization_details",
        "initial_access_tokens",
        "claim_mappings",
        "workload_identities",
        "token_exchange",
        "trusted_issuers",
        "id_jag_policies",
        "audit",
        "outbox",
        "deliveries",
        "webhooks",
        "token_hooks",
        "scim_tokens",
        "provisioning",
        "shared_signals",
    ],
)
@pytest.mark.parametrize("name", ["none", "00000000-0000-7000-8000-000000000000", "%00", "..%2f", "'--"])
async def test_an_unknown_record_is_not_found(owner: Admin, kind: str, name: str) -> None:
    page = await owner.get(f"/admin/{kind}/{name}")
    assert page.status == 404


@pytest.mark.parametrize(
    "query", ["cursor=x", "sort=password_hash", "q=%25", "disabled=maybe", "since=yesterday", "x=1"]
)
@pytest.mark.parametrize(
    "path", ["users", "groups", "roles", "clients", "audit", "outbox", "deliveries", "shared_signals"]
)
async def test_an_invalid_query_shows_the_list(owner: Admin, path: str, query: str) -> None:
    assert (await owner.get(f"/admin/{path}?{query}")).status == 200


async def test_the_status_of_a_stream(owner: Admin) -> None:
    """By the names that the admin API and the command line have."""
    stream = await make_stream(description="Mine")
    path = f"/admin/shared_signals/{stream.id}"
    for change in CHANGES[::-1]:
        answer = await owner.confirm(f"{path}/{change.name}", reason=f"To {change.name}")
        assert "Saved." in answer.text
        assert f"To {change.name}" in answer.text
        # A stream is not asked to become what it is.
        assert f'href="{path}/{change.name}"' not in answer.text
        assert f">{change.status}</span>" in answer.text
    listed = await owner.get(f"/admin/shared_signals?client_id={stream.client_id}")
    assert path in listed.text
    assert "IDP_SHARED_SIGNALS is off" in listed.text
    assert "Deleted." in (await owner.confirm(f"{path}/delete")).text
    assert (await owner.get(path)).status == 404
