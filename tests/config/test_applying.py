"""Plans, and applying them: all or nothing, once, and only what was shown."""

import asyncio
import contextvars
import json
from pathlib import Path

import msgspec
import pytest

from idp.config import applying, planning
from idp.config.document import parse
from idp.config.errors import ConfigError, LastOwnerClientError, StateChangedError
from idp.config.export import export
from idp.config.rendering import WIDTH, render
from idp.directory import groups as directory_groups
from idp.directory.repository.groups import group_by_name
from idp.events import webhooks as webhook_service
from idp.events.repository import webhooks
from idp.infra.db.engine import fetch, transaction
from idp.keys import jose
from idp.oauth.clients import repository, service
from idp.oauth.clients.authentication.secrets import has_secret
from idp.oauth.clients.validation import authentication
from idp.settings import settings
from tests.support.configuration import EVERYTHING, SECRETS, apply, everything, planned, read

pytestmark = pytest.mark.usefixtures("accepts_certificates", "secrets", "own_database")

#: Another key than that of the sample.
APPLE_KEY = jose.to_pem(jose.generate("ES256"), private=True).decode()
WIKI = """\
clients:
  - client_id: wiki
    client_name: Wiki
    client_secret: {env: WEB_SECRET}
    redirect_uris: [https://wiki.example/a, https://wiki.example/b]
groups:
  - name: Staff
"""


async def test_a_plan_shows_each_field() -> None:
    await apply(read(WIKI))
    changed = WIKI.replace("Wiki\n", "Wiki 2\n").replace("https://wiki.example/b", "https://wiki.example/c")
    text = render(await planned(read(changed)))
    assert text == (
        "clients\n"
        "  ~ wiki\n"
        '      client_name: "Wiki" → "Wiki 2"\n'
        "      redirect_uris:\n"
        '        - "https://wiki.example/b"\n'
        '        + "https://wiki.example/c"\n'
        "\n"
        "1 to change."
    )


async def test_a_plan_fits_a_terminal() -> None:
    plan = await planned(everything())
    long = [line for line in render(plan).splitlines() if len(line) > WIDTH and " " in line.strip()]
    assert [line for line in long if len(max(line.split(), key=len)) < WIDTH - 10] == []


async def test_the_second_run_changes_nothing() -> None:
    await apply(everything())
    before = await _trail(), await _versions()
    assert (await apply(everything())).changes == []
    assert (await _trail(), await _versions()) == before


async def _trail() -> int:
    return (await fetch("SELECT count(*) AS number FROM audit_event"))[0]["number"]


async def _versions() -> list[tuple[str, object]]:
    tables = await fetch(
        "SELECT table_name AS name FROM information_schema.columns"
        " WHERE column_name = 'updated_at' AND table_schema = 'public'"
    )
    found = [(row["name"], await fetch(f"SELECT max(updated_at) AS at FROM {row['name']}")) for row in tables]
    return [(name, rows[0]["at"]) for name, rows in found] + [
        ("revision", [tuple(row.values()) for row in await fetch("SELECT topic, number FROM revision ORDER BY 1")])
    ]


async def test_secrets_are_compared_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    await apply(everything())
    others = {name: value.upper() for name, value in SECRETS.items()}
    others |= {"HOOK_SECRET": "whsec_" + "A" * 32, "APPLE_KEY": APPLE_KEY}
    for name, value in others.items():
        monkeypatch.setenv(name, value)
    plan = await planned(everything())
    text = render(plan) + msgspec.json.encode(plan).decode() + (await export()).text
    assert not any(value in text or value.upper() in text for value in SECRETS.values() if "whsec" not in value)
    secret = {(change.section, change.key): [field.name for field in change.fields] for change in plan.changes}
    assert secret["clients", "web"] == ["client_secret"]
    assert secret["webhooks", "https://hooks.example/events"] == ["secret"]
    assert secret["provisioning_targets", "Wiki"] == ["token"]
    assert len(secret) == 13
    await apply(everything())
    assert (await planned(everything())).changes == []


async def test_a_target_that_moves_gets_the_token_of_the_file() -> None:
    await apply(everything())
    _, _, rest = EVERYTHING.read_text().partition("\n")
    moved = rest.replace("https://wiki.example/scim", "https://moved.example/scim")
    await apply(read(moved))
    (row,) = await fetch("SELECT base_url FROM provisioning_target WHERE name = 'Wiki'")
    assert row["base_url"] == "https://moved.example/scim"
    assert (await planned(read(moved))).changes == []


async def test_a_target_that_moves_with_another_token_gets_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    await apply(everything())
    _, _, rest = EVERYTHING.read_text().partition("\n")
    monkeypatch.setenv("TARGET_TOKEN", "another-token")
    await apply(read(rest.replace("https://wiki.example/scim", "https://moved.example/scim")))
    # Three targets have this token.
    assert len(await fetch("SELECT FROM audit_event WHERE event = 'provisioning_target_token_set'")) == 3


async def test_a_rule_that_came_later_keeps_nobody_from_other_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client with a certificate, after certificates were switched off: a finding, until the client changes."""
    await apply(everything())
    without = settings().model_copy(update={"client_certificate_header": None})
    monkeypatch.setattr(authentication, "settings", lambda: without)
    plan = await planned(everything())
    assert plan.changes == []
    (note,) = plan.notes
    assert note.startswith("clients pinged is refused now: ")
    assert "IDP_CLIENT_CERTIFICATE_HEADER" in note
    changed = EVERYTHING.read_text().replace("client_name: Pinged", "client_name: Other")
    with pytest.raises(ConfigError, match="IDP_CLIENT_CERTIFICATE_HEADER"):
        await planned(parse({"a.yaml": changed.encode()}))


async def test_a_secret_that_is_missing_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    await apply(read(WIKI))
    monkeypatch.delenv("WEB_SECRET")
    plan = (await planning.make(read(WIKI), secrets=False)).plan
    assert plan.changes == []
    assert plan.notes == [
        "clients wiki: client_secret is not compared. The environment variable WEB_SECRET is not set."
    ]
    with pytest.raises(ConfigError, match=r"a.yaml:5:26: The environment variable WEB_SECRET is not set"):
        await planned(read(WIKI))


#: Objects up to the name of the variable with their secret.
_WITH_SECRET = {
    "WEB_SECRET": "clients:\n  - {client_id: w, client_name: Wiki, redirect_uris: [https://a.example], client_secret",
    "HOOK_SECRET": "webhooks:\n  - {url: https://wiki.example/hook, kinds: [user_created], secret",
    "TARGET_TOKEN": "provisioning_targets:\n  - {name: Wiki, base_url: https://wiki.example/scim, token",
    "APPLE_KEY": "upstreams:\n  - {id: a, kind: apple, client_id: us, options: {team_id: T, key_id: K}, client_secret",
}


@pytest.mark.parametrize("name", _WITH_SECRET)
@pytest.mark.parametrize("exists", [False, True], ids=["a new object", "a changed secret"])
async def test_a_plan_refuses_a_secret_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, name: str, exists: bool
) -> None:
    document = read(f"{_WITH_SECRET[name]}: {{env: {name}}}}}\n")
    if exists:
        await apply(document)
    monkeypatch.setenv(name, "too short")
    with pytest.raises(ConfigError, match=r"a\.yaml:3:.*(must be|A token is)"):
        await planned(document)


async def test_the_chosen_secret_works() -> None:
    await apply(read(WIKI))
    client = await repository.find_client("wiki")
    assert client is not None
    assert await has_secret(SECRETS["WEB_SECRET"])(client) is None


async def test_what_no_file_names_is_left_alone() -> None:
    await apply(read(WIKI))
    plan = await planned(read("groups: [{name: Others}]\n"))
    assert [(each.section, each.keys) for each in plan.unmanaged] == [("clients", ["wiki"]), ("groups", ["Staff"])]
    assert "In no file, and left alone:" in render(plan)


async def test_prune_deletes_in_the_sections_of_the_files_only() -> None:
    text = "groups: [{name: Staff}, {name: Writers, parent: Staff}]\nroles: [{name: R}]\n"
    await apply(read(WIKI.partition("groups")[0] + text))
    plan = await planned(read("groups: []\n"), prune=True)
    assert [(change.operation, change.key) for change in plan.changes] == [("delete", "Writers"), ("delete", "Staff")]
    assert "0 users are in it" in render(plan)
    await apply(read("groups: []\n"), prune=True)
    left = await planned(read("groups: []\n"))
    assert [each.section for each in left.unmanaged] == ["clients", "roles"]


async def test_the_last_owner_is_kept() -> None:
    owner = "clients:\n  - {client_id: ops, client_name: Ops, client_secret: {env: WEB_SECRET},"
    owner += " grant_types: [client_credentials], admin_role: owner}\n"
    await apply(read(owner))
    for file in (
        "clients: []\n",
        owner.replace(", admin_role: owner", ""),
        owner.replace("owner}", "owner, disabled: true}"),
    ):
        with pytest.raises(LastOwnerClientError):
            await apply(read(file), prune=True)
    assert (await planned(read(owner))).changes == []


async def test_a_plan_is_bound_to_the_state() -> None:
    await apply(read(WIKI))
    document = read(WIKI.replace("Staff", "Others"))
    plan = await planned(document)
    await service.update_client("wiki", client_name="Changed at the console")
    with pytest.raises(StateChangedError):
        await applying.apply(document, plan.revision)
    assert await group_by_name("others") is None


async def test_of_two_runs_at_once_one_is_done() -> None:
    document = read(WIKI)
    plan = await planned(document)
    runs = (applying.apply(document, plan.revision), applying.apply(document, plan.revision))
    first, second = await asyncio.gather(*runs, return_exceptions=True)
    assert sorted(type(result).__name__ for result in (first, second)) == ["Plan", "StateChangedError"]
    assert (await planned(document)).changes == []


async def test_a_change_under_way_is_waited_for() -> None:
    """A change at the console that has not committed when a plan is applied."""
    await apply(read(WIKI))
    document = read(WIKI.replace("Wiki\n", "Wiki 2\n"))
    plan = await planned(document)
    async with transaction():
        await service.update_client("wiki", client_name="Changed at the console")
        run = asyncio.create_task(applying.apply(document, plan.revision), context=contextvars.Context())
        await _until_it_waits()
        assert not run.done()
    with pytest.raises(StateChangedError):
        await run
    client = await repository.find_client("wiki")
    assert client is not None
    assert client.client_name == "Changed at the console"


async def test_a_change_of_a_webhook_under_way_is_waited_for() -> None:
    """Webhooks have no topic."""
    hook = "webhooks: [{url: 'https://hook.example/', kinds: ['*'], secret: {env: HOOK_SECRET}}]\n"
    await apply(read(hook))
    document = read(hook.replace("'*'", "sign_in"))
    plan = await planned(document)
    (stored,) = await webhooks()
    async with transaction():
        await webhook_service.update(stored.id, kinds=["user_created"])
        run = asyncio.create_task(applying.apply(document, plan.revision), context=contextvars.Context())
        await _until_it_waits()
    with pytest.raises(StateChangedError):
        await run
    assert (await webhooks())[0].kinds == ["user_created"]


async def _until_it_waits() -> None:
    """Wait until a statement of another connection waits for a lock."""
    text = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with asyncio.timeout(30):
        # Outside of the transaction of the caller, which would see the same activity each time.
        while not await asyncio.create_task(fetch(text), context=contextvars.Context()):
            await asyncio.sleep(0.01)


async def test_a_secret_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("f" * 40 + "\n")
    text = WIKI.replace("{env: WEB_SECRET}", f"{{file: {tmp_path / 'secret'}}}")
    await apply(read(text))
    client = await repository.find_client("wiki")
    assert client is not None
    assert await has_secret("f" * 40)(client) is None
    assert (await planned(read(text))).changes == []


async def test_verify_changes_nothing() -> None:
    document = everything()
    plan = await planned(document)
    await applying.verify(document, plan)
    assert (await planned(document)).revision == plan.revision
    broken = read("access_policies:\n  - {client_id: nobody, groups: [x]}\n")
    with pytest.raises(ConfigError, match="There is no group x"):
        await applying.verify(broken, await planned(broken))


async def test_what_is_stored_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database would differ from the file for ever."""

    async def create(name: str, description: str = "", parent_id: None = None) -> object:
        return await original(name, description + "!", parent_id)

    original = directory_groups.create
    monkeypatch.setattr(directory_groups, "create", create)
    with pytest.raises(ConfigError, match=r"a.yaml:2:10: description is stored as !. Write it so."):
        await apply(read("groups: [{name: Staff}]\n"))
    assert await group_by_name("staff") is None


async def test_groups_and_roles_move() -> None:
    await apply(
        read("groups: [{name: A}, {name: B, parent: A}]\nroles: [{name: R, contains: [{name: S}]}, {name: S}]\n")
    )
    turned = "groups: [{name: A, parent: B}, {name: B}]\nroles: [{name: S, contains: [{name: R}]}, {name: R}]\n"
    await apply(read(turned))
    assert (await planned(read(turned))).changes == []


async def test_runs_are_recorded_with_their_source() -> None:
    await apply(read(WIKI))
    rows = await fetch("SELECT event, detail FROM audit_event WHERE event NOT LIKE 'key_%' ORDER BY at, id")
    assert [row["event"] for row in rows] == ["client_registered", "group_created", "configuration_applied"]
    detail = json.loads(rows[-1]["detail"])
    assert (detail["sections"], detail["create"], detail["update"]) == (["clients", "groups"], 2, 0)
