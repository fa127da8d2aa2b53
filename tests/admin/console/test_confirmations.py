"""Confirmation pages name the record that is changed; the audit list shows the time of day."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from idp.accounts import invitations as guests
from idp.accounts.attributes import declaration
from idp.accounts.tables import User
from idp.admin.bulk import service as bulk
from idp.admin.bulk.kinds import NoParameters, kind_of
from idp.admin.bulk.models import Selection
from idp.admin.console import screen
from idp.admin.roles import Role, grant
from idp.audit.events import record
from idp.branding import service as branding
from idp.branding.models import SERVER, Owner
from idp.delivery import outbox as deliveries
from idp.directory import domains, invitations, organizations, roles
from idp.events import webhooks
from idp.events.ssf import streams
from idp.federation import registry
from idp.ids import uuid7_text
from idp.infra import i18n
from idp.infra.db.engine import fetchrow, transaction
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
from tests.admin.console.conftest import Admin, delete_directory, make_directory
from tests.conftest import MakeUser
from tests.federation.conftest import until_offered
from tests.support.browser import Browser, as_page
from tests.support.oauth import PASSWORD
from tests.support.server import Server
from tests.support.streams import make_stream

pytestmark = pytest.mark.fault(46)

#: Screens of records whose GET is a page of its own, not a question.
SHOWN = re.compile(r"/(?:new/.*|change|rename|rotate|preview|export/.*)$")
ASKING = sorted(
    path
    for route in screen.ROUTES
    for path in route.paths
    if "GET" in {str(method) for method in route.http_methods}
    and re.search(r"}/[a-z_]+$", path)
    and not SHOWN.search(path)
)

Names = dict[str, tuple[dict[str, str], list[str]]]


async def _make_customer(user: User) -> dict[str, str]:
    organization = await organizations.create(f"named-{uuid7_text()[-12:]}", "Named customer")
    await organizations.add_members(organization.id, [user.id])
    role = await roles.create("Named role", organization_id=organization.id)
    await roles.give(role.id, [user.id])
    domain = await domains.claim(organization.id, f"{uuid7_text()[-12:]}.example")
    invited = (await invitations.invite(organization.id, f"{uuid7_text()[-12:]}@example.com")).invitation
    version = await _version(Owner(organization_id=organization.id))
    found = {
        "picture": "logo",
        "organization_version_id": version,
        "organization_id": organization.id,
        "user_id": user.id,
        "role_id": role.id,
        "domain_id": domain.id,
    }
    return {name: str(value) for name, value in (found | {"invitation_id": invited.id}).items()}


async def _version(owner: Owner) -> str:
    await branding.save(owner, {"ways": ["password"]})
    return str((await branding.history(owner))[0].id)


async def _hooks() -> tuple[UUID, UUID, str]:
    """Return a webhook, a token hook, and the client of that."""
    webhook_id, _ = await webhooks.add("https://named.example/events", ["database_restored"], description="Named hook")
    client, _ = await register_client(client_name="Hooked", redirect_uris=["https://named.example/callback"])
    hook_id, _ = await token_hooks.add(client.client_id, "https://named.example/claims")
    return webhook_id, hook_id, client.client_id


@pytest.fixture
async def names(  # noqa: PLR0915 -- one of each kind
    server: Server, alice: User, browser: Browser, make_user: MakeUser
) -> AsyncIterator[Names]:
    """For each part of the console, the path parameters of a record and its name."""
    await browser.sign_in(as_page(await browser.get("/login")), alice.email, PASSWORD)
    session = await fetchrow("SELECT id FROM session WHERE user_id = $1", alice.id)
    client, _ = await register_client(client_name="Named client", redirect_uris=["https://named.example/cb"])
    await register_resource_server(identifier := f"https://{uuid7_text()}.example", "Named server")
    resource_server = await fetchrow("SELECT jwks_id FROM resource_server WHERE identifier = $1", identifier)
    admin = await make_user()
    await grant(admin.id, Role.AUDITOR)
    role = await fetchrow("SELECT id FROM admin_role WHERE user_id = $1", admin.id)
    async with transaction():
        await outbox.queue("named@example.com", "account_deleted", name="Named")
        delivery = await deliveries.queue("named_kind", "client:named", {}, lifetime=60)
    mail = await fetchrow("SELECT id FROM mail WHERE recipient = 'named@example.com' ORDER BY created_at DESC")
    webhook_id, hook_id, hooked = await _hooks()
    stream = await make_stream("Named receiver")
    key = (await lifecycle.list_keys())[0]
    provider = registry.configure(
        kind="oidc", id=f"named{uuid7_text()[-8:]}", name="Named provider", issuer="https://named.example",
        client_id="x", client_secret="y",
    )  # fmt: skip
    assert await registry.add(provider)
    details = await register_type(
        type=f"named-{uuid7_text()}", resource=identifier, title="Named details",
        schema='{"type": "object", "properties": {"type": {}}, "additionalProperties": false}',
    )  # fmt: skip
    target_id = await provisioning_targets.create("Named target", "https://app.example/scim/v2", "token")
    (token_id, _), (scim_token_id, _) = (
        await initial_tokens.create("Named token", Ceiling()),
        await scim_tokens.create("Named directory"),
    )
    async with transaction():
        job = await bulk.create(None, kind_of("enable"), NoParameters(), Selection(names=("named@example.com",)))
        # The server would change it at any time.
        await bulk.cancel(job.id, None)
    workload, _ = await register_client(
        client_name="Workload",
        grant_types=["client_credentials"],
        scope="",
        token_endpoint_auth_method="workload_identity",
    )
    rule = await workloads.add(workload.client_id, issuer="https://issuer.example", subject="named:workload")
    service, _ = await register_client(client_name="Service", grant_types=[GRANT_TYPE], scope="")
    policy = await exchange.add(service.client_id, mode="delegation", resources=[identifier])
    mapping = await claim_mappings.add(
        workload.client_id, claim="named_claim", source={"kind": "groups"}, places=["id_token"]
    )
    trusted = await trusted_issuers.add(
        issuer=f"https://{workload.client_id}.example", purposes=["jwt_bearer"], clients=[workload.client_id]
    )
    assertions = await id_jag_policies.add(
        workload.client_id, audience="https://login.named.example", audience_client_id="named"
    )
    attribute = await declaration.declare(
        name=f"named_{uuid7_text()[-8:]}", type="string", label={"default": "Named attribute"}
    )
    assert session is not None
    assert resource_server is not None
    assert role is not None
    assert mail is not None
    directory = await make_directory(alice.id, "Named")
    customer = await _make_customer(alice)
    await guests.invite(invitation_email := f"{secrets.token_hex(6)}@example.com", "Named guest")
    invited = await fetchrow("SELECT id FROM invitation WHERE email = $1", invitation_email)
    assert invited is not None
    yield {
        "groups": (directory | {"user_id": str(alice.id)}, ["Named", "group"]),
        "roles": (directory | {"user_id": str(alice.id)}, ["Named", "role"]),
        "organizations": (customer, ["Named customer"]),
        "users": (
            {"application_id": workload.client_id, "user_id": str(alice.id), "sid": str(session["id"])},
            [alice.email, str(alice.id)],
        ),
        "branding": ({"picture": "logo", "server_version_id": await _version(SERVER)}, ["the server"]),
        "clients": (
            {
                "client_id": client.client_id,
                "picture": "logo",
                "client_version_id": await _version(Owner(client_id=client.client_id)),
            },
            ["Named client", client.client_id],
        ),
        "resource_servers": ({"jwks_id": resource_server["jwks_id"]}, ["Named server", identifier]),
        "authorization_details": ({"type_id": details.id}, ["Named details", details.type]),
        "workload_identities": ({"identity_id": str(rule.id)}, ["named:workload", workload.client_id]),
        "trusted_issuers": ({"issuer_id": trusted.id}, [trusted.issuer, workload.client_id]),
        "claim_mappings": ({"mapping_id": str(mapping.id)}, ["named_claim", workload.client_id]),
        "token_exchange": ({"policy_id": str(policy.id)}, [service.client_id, "delegation", identifier]),
        "id_jag_policies": ({"id_jag_id": str(assertions.id)}, [assertions.audience, workload.client_id]),
        "initial_access_tokens": ({"token_id": str(token_id)}, ["Named token"]),
        "admins": ({"admin_id": str(role["id"])}, [admin.email, "auditor"]),
        "outbox": ({"mail_id": str(mail["id"])}, ["named@example.com", "account deleted"]),
        "mail_templates": ({"mail": "welcome.all"}, ["welcome", "All languages"]),
        "scim_tokens": ({"scim_token_id": str(scim_token_id)}, ["Named directory"]),
        "provisioning": ({"target_id": str(target_id)}, ["Named target", "https://app.example/scim/v2"]),
        "jobs": ({"job_id": str(job.id)}, ["Enable", "of 1", str(job.id)]),
        "webhooks": ({"webhook_id": str(webhook_id)}, ["https://named.example/events", "Named hook"]),
        "token_hooks": ({"hook_id": str(hook_id)}, ["https://named.example/claims", hooked]),
        "shared_signals": ({"stream_id": str(stream.id)}, [stream.client_id, "polled by the client"]),
        "deliveries": ({"delivery_id": str(delivery)}, ["client:named", "named kind"]),
        "attributes": ({"attribute": attribute.name}, [attribute.name, "Named attribute", "Values that go with it"]),
        "keys": ({"kid": key.kid}, [key.kid, key.alg]),
        "upstreams": ({"upstream_id": provider.id}, ["Named provider", provider.id]),
        "invitations": ({"user_invitation_id": str(invited["id"])}, [invitation_email, "Named guest"]),
    }
    await declaration.delete(attribute.name)
    await delete_directory(directory)
    await organizations.delete(UUID(customer["organization_id"]))
    await asyncio.gather(webhooks.remove(webhook_id), token_hooks.remove(hook_id))
    await scim_tokens.delete(scim_token_id)
    await provisioning_targets.delete(target_id)
    await streams.delete_any(stream.id)
    await initial_tokens.delete(token_id)
    await id_jag_policies.remove(assertions.id)
    await trusted_issuers.remove(trusted.id)
    await claim_mappings.remove(mapping.id)
    await workloads.remove(rule.id)
    await exchange.remove(policy.id)
    await delete_type(details.id)
    await registry.delete(provider.id)
    await until_offered(server.issuer, provider.id, offered=False)


def test_confirmation_pages_are_found() -> None:
    assert len(ASKING) > 20


async def test_every_confirmation_page_names_its_record(
    owner: Admin, names: dict[str, tuple[dict[str, str], list[str]]]
) -> None:
    """In the page itself, not only in the address."""
    for path in ASKING:
        parameters, said = names[path.split("/")[2]]
        page = await owner.get(re.sub(r"{(\w+):\w+}", lambda found: parameters[found[1]], path))  # noqa: B023
        assert page.status == 200, path
        shown = re.sub(r"<[^>]*>", " ", page.text.partition("<main")[2])
        for text in said:
            assert text in shown, (path, text)


async def test_a_confirmation_page_of_an_unknown_record(owner: Admin) -> None:
    for path in ASKING:
        page = await owner.get(re.sub(r"{(\w+):\w+}", "00000000-0000-7000-8000-000000000000", path))
        assert page.status == 404, path


async def test_the_audit_shows_the_time_of_day(owner: Admin, alice: User) -> None:
    """To the second, in the list, at the event and at the user, with the moment for programs."""
    await record("profile_changed", user_id=alice.id)
    row = await fetchrow("SELECT id, at FROM audit_event WHERE user_id = $1 ORDER BY at DESC", alice.id)
    assert row is not None
    token = i18n.locale.set("en")
    moment = i18n.second(row["at"])
    i18n.locale.reset(token)
    assert re.search(r"\d\d:\d\d:\d\d UTC$", moment)
    for path in (f"/admin/audit?user_id={alice.id}", f"/admin/audit/{row['id']}", f"/admin/users/{alice.id}"):
        text = (await owner.get(path)).text
        assert f'<time datetime="{row["at"].isoformat()}" title="{moment}">{moment}</time>' in text, path
    # Elsewhere a time is shown in words, and its title is exact.
    assert re.search(r'title="[^"]+ UTC">(?!\d+ \w+ \d+, )', (await owner.get("/admin/users")).text)
