"""Keys, queues and clients in a state that needs attention, each found and named."""

import base64
import re
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from idp.doctor.models import Level, Needs
from idp.infra.db.engine import execute
from idp.keys import lifecycle, restore_detection
from idp.keys.key_set import key_set
from idp.keys.repository import database_mark, jwks_fetches
from idp.mail import outbox
from idp.oauth.clients.registration import register_client, register_resource_server
from idp.settings import DAY, settings
from tests.support import certificates
from tests.support.examinations import named, one, run
from tests.support.isolated import MoveClock, UseMasterKey

CHECKS = (*("master_key", "signing_keys", "restored_backup", "mail_queue", "deliveries", "audit", "clients"),)


@pytest.fixture
async def database(own_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """A database with a key, and a mark outside it."""
    monkeypatch.setenv("IDP_KEYS_DIR", str(tmp_path / "keys"))
    settings.cache_clear()
    monkeypatch.setattr(restore_detection, "keeper", restore_detection.Keeper())
    await lifecycle.ensure_signing_key("RS256")
    await key_set.load()
    position = await restore_detection.advance()
    assert position is not None
    await restore_detection.keeper.keep(position)
    yield own_database
    settings.cache_clear()


@pytest.mark.usefixtures("database")
async def test_a_sound_server_has_no_finding() -> None:
    await register_client(client_name="Shop", redirect_uris=["https://shop.example/cb"])
    for name in CHECKS:
        findings = await run(name)
        assert named(findings) == set(), name
        assert [finding.level for finding in findings] == [Level.OK], name


# Keys


@pytest.mark.usefixtures("own_database")
async def test_the_master_key_of_another_database(use_master_key: UseMasterKey) -> None:
    use_master_key(b"x" * 32)
    findings = await run("master_key", provides=Needs.DATABASE)
    assert named(findings) == {("master_key_wrong", Level.ERROR)}
    assert "Restore the master key" in one(findings, "master_key_wrong").mend


@pytest.mark.usefixtures("empty_database")
async def test_an_empty_database_has_no_root_key() -> None:
    assert await run("master_key", provides=Needs.DATABASE) == []


@pytest.mark.usefixtures("database")
async def test_a_change_of_the_master_key_that_is_unfinished() -> None:
    await execute("INSERT INTO root_key (master_key_id, sealed, created_at) VALUES ('\\x01', '\\x02', now())")
    findings = await run("master_key")
    assert named(findings) == {("master_key_change_unfinished", Level.NOTE)}
    assert "idp keys rewrap --finish" in one(findings, "master_key_change_unfinished").mend


@pytest.mark.usefixtures("own_database")
async def test_no_signing_key() -> None:
    findings = await run("signing_keys")
    assert named(findings) == {("signing_key_missing", Level.ERROR)}
    assert "idp keys generate --alg RS256" in one(findings, "signing_key_missing").mend


@pytest.mark.usefixtures("database")
async def test_old_keys() -> None:
    await execute("UPDATE signing_key SET activates_at = now() - interval '100 days'")
    assert named(await run("signing_keys")) == {("signing_key_overdue", Level.WARNING)}
    assert named(await run("signing_keys", key_rotation_interval=0)) == set()
    await execute("UPDATE signing_key SET activates_at = now() - interval '500 days'")
    findings = await run("signing_keys", key_rotation_interval=0)
    assert named(findings) == {("signing_key_old", Level.WARNING)}
    assert "idp keys rotate" in one(findings, "signing_key_old").mend


@pytest.mark.usefixtures("database")
async def test_a_key_that_a_service_does_not_fetch() -> None:
    await register_resource_server("https://api.example", "API")
    kid = await lifecycle.rotate("RS256", 2048, deadline=None)
    assert await jwks_fetches.unseen(kid) == ["https://api.example"]
    assert named(await run("signing_keys")) == set()
    await execute("UPDATE signing_key SET created_at = now() - interval '3 days' WHERE kid = $1", kid)
    findings = await run("signing_keys")
    assert named(findings) == {("signing_key_waits", Level.WARNING)}
    assert "https://api.example" in one(findings, "signing_key_waits").text


@pytest.mark.usefixtures("database")
async def test_a_restored_backup() -> None:
    await mark_of("number = number + 100")
    await execute("UPDATE database_mark SET number = number - 100")
    findings = await run("restored_backup")
    assert named(findings) == {("database_restored", Level.ERROR)}
    assert "idp db restored" in one(findings, "database_restored").mend


async def mark_of(change: str) -> None:
    """Change the position of the database, and let the mark follow."""
    await execute(f"UPDATE database_mark SET {change}")
    position = await database_mark.position()
    assert position is not None
    await restore_detection.keeper.keep(position)


@pytest.mark.usefixtures("database")
async def test_two_databases_with_one_mark() -> None:
    await mark_of("epoch = epoch + 1, begun = number")
    await execute("UPDATE database_mark SET epoch = epoch - 1, number = number + 100")
    findings = await run("restored_backup")
    assert named(findings) == {("keys_folder_shared", Level.ERROR)}
    assert "IDP_KEYS_DIR of its own" in one(findings, "keys_folder_shared").mend


@pytest.mark.usefixtures("database")
async def test_no_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    settings().database_mark_path.unlink()
    monkeypatch.setattr(restore_detection, "keeper", restore_detection.Keeper())
    assert named(await run("restored_backup")) == {("mark_missing", Level.NOTE)}


# Queues


@pytest.mark.usefixtures("database")
async def test_mails_that_nobody_sends() -> None:
    await outbox.queue("ada@example.com", "welcome")
    assert named(await run("mail_queue")) == set()
    await execute("UPDATE mail SET next_attempt_at = now() - interval '1 hour'")
    findings = await run("mail_queue")
    assert named(findings) == {("mail_stuck", Level.ERROR)}
    assert "idp mail list" in one(findings, "mail_stuck").mend
    # It was tried for two days, and given up now.
    await execute(
        "UPDATE mail SET state = 'dead', attempts = 3, next_attempt_at = NULL, finished_at = now(),"
        " created_at = now() - interval '2 days'"
    )
    # These were never to be sent.
    await outbox.queue("nobody@example.com", "welcome", void=True)
    await outbox.queue("nobody@example.com", "welcome", budget=0)
    findings = await run("mail_queue")
    assert named(findings) == {("mail_dead", Level.WARNING)}
    assert one(findings, "mail_dead").text == "1 mails were given up within a day."
    assert "ada@example.com" not in str(findings)
    await execute("UPDATE mail SET finished_at = finished_at - interval '1 day'")
    assert named(await run("mail_queue")) == set()


@pytest.mark.usefixtures("database")
async def test_deliveries_and_receivers_that_fail() -> None:
    await execute(
        "INSERT INTO delivery (id, kind, stream, state, attempts, response, created_at, next_attempt_at, expires_at,"
        " urgent) VALUES ($1, 'webhook', 'webhook:1', 'deferred', 7, '', now(), now() - interval '1 hour',"
        " now() + interval '1 day', false)",
        uuid4(),
    )
    await execute(
        "INSERT INTO delivery_stream (stream, failures, free_at) VALUES ('webhook:1', 7, now() + interval '5 minutes')"
    )
    assert named(await run("deliveries")) == {("receiver_failing", Level.WARNING)}
    await execute("UPDATE delivery_stream SET free_at = now() - interval '3 minutes'")
    findings = await run("deliveries")
    assert named(findings) == {("deliveries_stuck", Level.ERROR), ("receiver_failing", Level.WARNING)}
    assert "7 attempts at webhook:1" in one(findings, "receiver_failing").text
    assert re.search(r"due 18\d s ago", one(findings, "deliveries_stuck").text)
    await execute("UPDATE delivery_stream SET free_at = now() - interval '30 s'")
    assert named(await run("deliveries")) == {("receiver_failing", Level.WARNING)}
    # A receiver fetches these itself.
    await execute("DELETE FROM delivery_stream")
    await execute("UPDATE delivery SET kind = 'security_event_poll', state = 'queued'")
    assert named(await run("deliveries")) == set()
    await execute("UPDATE delivery SET kind = 'webhook'")
    assert named(await run("deliveries")) == {("deliveries_stuck", Level.ERROR)}
    await execute("UPDATE delivery SET state = 'dead', next_attempt_at = NULL, finished_at = now()")
    await execute("DELETE FROM delivery_stream")
    assert named(await run("deliveries")) == {("deliveries_dead", Level.WARNING)}


@pytest.mark.usefixtures("database")
async def test_an_audit_trail_without_checkpoints() -> None:
    await execute("UPDATE audit_event SET at = at - interval '1 hour'")
    findings = await run("audit")
    assert named(findings) == {("audit_not_sealed", Level.ERROR)}
    assert named(await run("audit", audit_checkpoint_interval=DAY)) == set()


# Clients


@pytest.mark.usefixtures("database")
async def test_a_secret_that_expires(move_clock: MoveClock) -> None:
    client, _ = await register_client(client_name="Shop", redirect_uris=["https://shop.example/cb"])
    await execute("UPDATE client SET client_secret_expires_at = now() + interval '20 days'")
    assert named(await run("clients")) == set()
    move_clock(10 * DAY)
    findings = await run("clients")
    assert named(findings) == {("client_secret_expires", Level.WARNING)}
    assert f"idp clients rotate-secret {client.client_id}" in one(findings, "client_secret_expires").mend
    move_clock(21 * DAY)
    assert named(await run("clients")) == {("client_secret_expired", Level.ERROR)}


@pytest.mark.usefixtures("database")
async def test_a_certificate_that_expires(move_clock: MoveClock) -> None:
    await register_client(client_name="Shop", redirect_uris=["https://shop.example/cb"])
    x5c = base64.b64encode(certificates.der(certificates.certificate(days=30))).decode()
    await execute(
        "UPDATE client SET metadata = metadata || jsonb_build_object('token_endpoint_auth_method',"
        " 'self_signed_tls_client_auth', 'jwks', jsonb_build_object('keys', jsonb_build_array($1::jsonb)))",
        msgspec.json.encode({"kty": "EC", "x5c": [x5c]}).decode(),
    )
    assert named(await run("clients")) == set()
    for days, level in ((20, Level.WARNING), (31, Level.ERROR)):
        move_clock(days * DAY)
        findings = await run("clients")
        assert named(findings) == {("client_certificate_expires", level)}
        assert "--jwks" in one(findings, "client_certificate_expires").mend


@pytest.mark.usefixtures("database")
async def test_a_scope_that_nothing_defines() -> None:
    await register_resource_server("https://orders.example", "Orders", scope="orders:read")
    shop = {"client_name": "Shop", "redirect_uris": ["https://shop.example/cb"]}
    await register_client(**shop, scope="openid email groups offline_access organization orders:read")
    assert named(await run("clients")) == set()
    client, _ = await register_client(**shop, scope="openid orders:raed")
    finding = one(await run("clients"), "scope_undefined")
    assert (finding.level, client.client_id in finding.text) == (Level.NOTE, True)
    assert "Is orders:read meant?" in finding.text


@pytest.mark.usefixtures("database")
async def test_registrations_that_are_dangerous() -> None:
    client, _ = await register_client(
        client_name="Shop", redirect_uris=["https://shop.example/cb", "http://localhost/cb"], require_pkce=False
    )
    findings = await run("clients", issuer="https://id.example.com")
    assert named(findings) == {("pkce_not_required", Level.WARNING), ("redirect_to_loopback", Level.NOTE)}
    # Registration refuses it; an older version or an import may have let it in.
    await execute("""UPDATE client SET metadata = metadata || '{"redirect_uris": ["http://shop.example/cb"]}'""")
    assert ("redirect_without_https", Level.ERROR) in named(await run("clients"))
    await execute("UPDATE client SET admin_role = 'auditor'")
    assert ("administrator_with_secret", Level.NOTE) in named(await run("clients"))
    await execute("UPDATE client SET disabled_at = now() WHERE client_id = $1", client.client_id)
    assert named(await run("clients")) == set()
