"""The page of what happened on the user's account."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from idp.accounts.tables import User
from idp.accounts.users import disable_user, enable_user
from idp.audit.events import record
from idp.directory import organizations
from idp.events.kinds import KINDS, OTHERS
from idp.infra import request_context
from idp.infra.db.engine import execute
from idp.oauth.credentials import credentials_changed
from idp.selfservice.activity_sentences import SHOWN
from tests.conftest import MakeClient, MakeUser
from tests.support.browser import Browser, as_page
from tests.support.oauth import PASSWORD

PATH = "/account/activity"
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; rv:140.0) Gecko/20100101 Firefox/140.0"
STRANGER, ADMIN = "9.9.9.9", "user:01900000-0000-7000-8000-0000000000aa"

#: Kinds of events that the page does not show, by the reason.
LEFT_OUT = {
    "is of no user": {
        "user_invited", "users_imported", "user_invitation_revoked", "users_exported", "audit_exported",
        "group_created", "group_updated", "group_deleted", "group_role_granted", "group_role_revoked",
        "role_created", "role_updated", "role_deleted", "role_contained_added", "role_contained_removed",
        "upstream_failed", "upstream_logout", "events_left_out", "directory_check_stopped", "client_authentication",
        "database_restored", "configuration_applied", "audit_rows_deleted", "upstream_tested", "upstreams_ordered",
        "access_token_revoked", "delivery_replayed", "not_before_set",
    },
    "ends the account, and with it the page": {"user_deleted", "account_voided"},
    "follows from an event that is shown": {"session_ended", "token_family_revoked"},
    "is a use of what was allowed": {
        "token_issued", "token_exchanged", "assertion_accepted", "id_jag_issued", "passkey_count_fell",
    },
    "was told to the application, or on the page where it happened": {
        "access_denied", "access_token_refused", "token_refused", "token_exchange_refused", "user_code",
        "backchannel_request", "provisioning_incomplete",
    },
    "waits on a page of its own": {
        "organization_invitation_created", "organization_invitation_resent", "organization_invitation_revoked",
    },
    "is an inquiry, of which the user is not told": {"subject_identified", "trace_read"},
}  # fmt: skip
#: The same by the beginning of the name: what belongs to the server, and to no user.
OF_THE_SERVER = (
    "access_policy_", "attribute_", "authorization_details_type_", "branding_", "bulk_job_", "claim_mapping_",
    "client_", "event_stream_", "id_jag_policy_", "initial_access_token_", "key_", "mail_template_",
    "mail_test_", "master_key_", "organization_branding_", "organization_domain_",
    "organization_policy_", "provisioning_", "registration_token_", "resource_server_", "scim_token_",
    "token_exchange_policy_", "token_hook_", "trusted_issuer_", "upstream_", "webhook_", "workload_identity_",
)  # fmt: skip
OF_ORGANIZATIONS = {f"organization_{what}" for what in ("created", "updated", "disabled", "enabled", "deleted")}


@pytest.mark.parametrize("kind", [*KINDS, *OTHERS])
def test_each_kind_is_shown_or_left_out_for_a_reason(kind: str) -> None:
    left_out = kind in set().union(*LEFT_OUT.values()) | OF_ORGANIZATIONS or kind.startswith(OF_THE_SERVER)
    assert (kind in SHOWN) != left_out


def test_only_kinds_that_exist_are_named() -> None:
    assert {*SHOWN, *set().union(*LEFT_OUT.values()), *OF_ORGANIZATIONS} <= {*KINDS, *OTHERS}


@pytest.fixture
async def home(browser: Browser, alice: User) -> Browser:
    browser.client.headers["user-agent"] = FIREFOX
    await browser.sign_in(as_page(await browser.get("/login")), alice.email, "not it")
    await browser.sign_in(as_page(await browser.get("/login")), alice.email, PASSWORD)
    return browser


async def _events(browser: Browser, path: str = PATH) -> list[str]:
    """The events of a page, as text."""
    listed = as_page(await browser.get(path)).text.partition('id="events"')[2].partition("</ul>")[0]
    return [" ".join(re.sub("<[^>]*>", " ", each).split()) for each in listed.split("<li>")[1:]]


@contextmanager
def _as(actor: str) -> Iterator[None]:
    """Act as another one, from an address of theirs."""
    by, sent_from = request_context.actor.set(actor), request_context.client_address.set(STRANGER)
    yield
    request_context.actor.reset(by)
    request_context.client_address.reset(sent_from)


async def _done(event: str, user: User, actor: str = "", **about: Any) -> None:
    with _as(actor):
        await record(event, user_id=user.id, **about)


async def test_what_the_user_did(home: Browser, alice: User, make_client: MakeClient) -> None:
    client = await make_client(client_name="Shop <1>")
    await _done("consent_withdrawn", alice, client_id=client.client_id)
    await execute("UPDATE users SET zoneinfo = 'Asia/Tokyo' WHERE id = $1", alice.id)
    withdrawn, signed_in, failed = (await _events(home))[:3]
    assert re.fullmatch(
        rf"Access removed: Shop &lt;1&gt; {STRANGER} · \d+ \w+ \d{{4}}, \d\d:\d\d GMT\+09:00 \(.*\)", withdrawn
    )
    assert signed_in.startswith("Signed in Firefox on Windows · This computer · ")
    assert failed.startswith("Failed attempt to sign in Firefox on Windows · This computer · ")


async def test_what_others_did(home: Browser, alice: User) -> None:
    """By whom, in a word: no name, no address, no reason."""
    with _as(ADMIN):
        await disable_user(alice.id, credentials_changed, reason="Suspected of fraud")
        await enable_user(alice.id)
    await home.sign_in(as_page(await home.get("/login")), alice.email, PASSWORD)
    for actor in ("cli:root", "client:portal", "upstream:acme", "scim:1"):
        await _done("profile_changed", alice, actor, detail={"user_agent": FIREFOX})
    page = as_page(await home.get(PATH)).text
    shown = await _events(home)
    by = [each for each in shown if " by " in each]
    words = [re.sub(r" \d+ \w+ \d{4}, \d\d:\d\d UTC \(.*", "", each) for each in by]
    assert words[:6] == [
        "Profile changed by an application",
        "Profile changed by the provider that you signed in with",
        "Profile changed by an application",
        "Profile changed by an administrator",
        "Account enabled by an administrator",
        "Account disabled by an administrator",
    ]
    assert not re.search("fraud|root|portal|acme|00aa|" + re.escape(STRANGER), page)


async def test_what_is_not_shown(home: Browser, alice: User, make_user: MakeUser) -> None:
    before = await _events(home)
    bob = await make_user()
    await _done("password_changed", bob)
    await _done("subject_identified", alice, ADMIN)
    await _done("attributes_changed", alice, ADMIN, detail={"attributes": ["risk"]})
    await _done("token_refused", alice, outcome="failure")
    assert await _events(home) == before
    await _done("attributes_changed", alice)
    assert (await _events(home))[0].startswith("Profile changed")


async def test_memberships(home: Browser, alice: User) -> None:
    organization = await organizations.create(f"o-{str(alice.id)[-12:]}", "Customer")
    await organizations.add_members(organization.id, [alice.id])
    assert (await _events(home))[0].startswith(f"Added to the organisation {organization.slug}")


async def test_a_changed_password_is_no_sign_in(home: Browser) -> None:
    await home.submit(as_page(await home.get("/account/sessions/end")), "ask-confirm")
    shown = await _events(home)
    assert shown[0].startswith("This browser stayed signed in")
    assert shown[1].startswith("Signed out everywhere")


async def test_pages(home: Browser, alice: User) -> None:
    """Twenty events each, without gaps where events have the same time."""
    for _ in range(30):
        await _done("passkey_added", alice)
    await execute("UPDATE audit_event SET at = date_trunc('minute', now()) WHERE event = 'passkey_added'")
    path, numbers, found = PATH, [], []
    while path:
        numbers.append(len(await _events(home, path)))
        found += await _events(home, path)
        after = re.search(r'id="next-page" href="([^"]*)"', as_page(await home.get(path)).text)
        path = after[1].replace("&amp;", "&") if after else ""
    assert numbers[0] == 20
    assert sum(each.startswith("Passkey added") for each in found) == 30
    assert as_page(await home.get(f"{PATH}?cursor=wrong")).path == PATH


async def test_the_ways_to_it(home: Browser) -> None:
    assert 'id="to-activity" href="/account/activity"' in as_page(await home.get("/account/sessions")).text
    assert 'id="to-security" href="/account/security"' in as_page(await home.get(PATH)).text


async def test_the_download_has_no_address_of_others(home: Browser, alice: User) -> None:
    await _done("profile_changed", alice, ADMIN)
    page = as_page(await home.submit(as_page(await home.get("/account/data")), "data-download"))
    assert "profile_changed" in page.text
    assert STRANGER not in page.text
