"""An import of a Keycloak realm: what it gives, what it says, and sign-ins of the imported users."""

import json
from base64 import b32encode
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pyotp
import pytest

from idp.accounts import imported_hashes
from idp.accounts.passwords import verify_password
from idp.accounts.repository.users import user_by_id
from idp.admin import roles as admin_roles
from idp.directory import groups, organizations, roles
from idp.directory.effective import is_member_of, memberships
from idp.directory.repository.groups import GROUPS
from idp.directory.repository.roles import OWN_ROLES
from idp.federation.repository import identities_of
from idp.infra.db.listing import all_rows
from idp.migration import configuration, people
from idp.migration.keycloak import credentials
from idp.migration.keycloak.export import read
from idp.migration.keycloak.representations import Credential
from idp.migration.models import Export, ExportError, Weight
from idp.settings import settings
from tests.cli.conftest import Cli, OwnCli
from tests.conftest import MASTER_KEY
from tests.support import keycloak
from tests.support.browser import Redirect, as_page, open_browser
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.server import Server
from tests.support.tokens import claims_of

SUB = "The sub is neither a UUID nor of another form that can be kept. Leave it out."
SCRIPTS = "Scripts may call from the origins of redirect URIs only, not from: "
ALGORITHMS = ("argon2", "pbkdf2-sha512", "pbkdf2-sha256", "pbkdf2")


async def _apply(export: Export, *, update: bool = False) -> tuple[int, list[str]]:
    """Apply the configuration. Returns the number of changes, and what is left alone."""
    kept, plan, left = await configuration.plan(export, configuration.document(export), update=update)
    await configuration.apply(export, kept, plan.revision)
    return len(plan.changes), left


async def _import(export: Export, **options: Any) -> people.Batch:
    (batch,) = [one async for one in people.import_people(export, **({"dry_run": False} | options))]
    return batch


def _notes(export: Export) -> dict[str, str]:
    return {note.what: note.text for note in export.notes}


async def test_a_realm_becomes_configuration(own_database: str, tmp_path: Path) -> None:
    export = read(keycloak.write(tmp_path / "export", "acme.example"))
    assert await _apply(export) == (17, [])
    entries = {section: {str(one.get("client_id") or one.get("name") or one.get("id")): one for one in found}
               for section, found in export.entries.items()}  # fmt: skip
    assert entries["clients"].keys() == {"wiki", "spa", "worker", "orders-api"}
    wiki = entries["clients"]["wiki"]
    assert wiki["redirect_uris"] == wiki["post_logout_redirect_uris"] == ["https://wiki.example/callback"]
    assert wiki["scope"] == "openid profile roles email work address phone offline_access organization"
    assert wiki["client_secret"] == {"env": "CLIENT_WIKI_SECRET"}
    assert entries["clients"]["spa"]["redirect_uris"] == ["https://spa.example/callback"]
    assert entries["clients"]["worker"]["grant_types"] == ["client_credentials"]
    assert {one["claim"]: one["source"] for one in entries["claim_mappings"]["wiki"]["mappings"]} == {
        "teams": {"kind": "groups"},
        "site": {"kind": "constant", "value": "berlin"},
        "realm_access": {"kind": "roles", "of": "server"},
        "resource_access": {"kind": "roles", "of": "client", "client_id": "wiki"},
        "cost_center": {"kind": "attribute", "name": "cost_center"},
    }
    assert entries["groups"].keys() == {"Staff", "Writers", "Guests", "Staff/Guests"}
    assert entries["roles"].keys() == {"wiki", "auditor"}
    assert [one["id"] for one in export.entries["upstreams"]] == ["google", "partner"]
    assert export.settings["IDP_SMTP_URL"] == "smtp://id:PASSWORD@mail.acme.example:587"
    notes = _notes(export)
    assert notes["client legacy"] == "It has no redirect URI that is accepted here."
    assert "https://spa.example/*" in notes["client spa"] or "PKCE" in notes["client spa"]
    assert "CLIENT_MASKED_SECRET" in notes["client masked"]
    assert notes["client short"] == (
        "Its secret is not 32 to 200 visible ASCII characters, without spaces."
        " Set another one in the environment: CLIENT_SHORT_SECRET"
    )
    assert "CLIENT_SHORT_SECRET" not in export.secrets
    assert "saml" in notes["client old-saml"]
    assert "same claim" in notes["client wiki, mapper paths"]
    assert "org.cost" in notes["scope work, mapper nested"]
    assert ("client spa", f"{SCRIPTS}https://other.example") in {(note.what, note.text) for note in export.notes}
    patterns = [note.text for note in export.notes if note.text.startswith("Patterns")]
    assert patterns == [
        "Patterns are not accepted. List each redirect URI instead of: https://spa.example/*",
        "Patterns are not accepted. List each redirect URI instead of: https://legacy.example/* http://*",
    ]


async def test_users_come_with_what_they_belong_to(own_database: str, tmp_path: Path) -> None:
    folder = keycloak.write(tmp_path / "export", "acme.example")
    export = read(folder)
    await _apply(export)
    assert await _import(export) == people.Batch(3, 0, 0, [])
    ada, bob = await user_by_id(UUID(keycloak.ADA)), await user_by_id(UUID(keycloak.BOB))
    assert ada is not None
    assert bob is not None
    assert (ada.name, ada.preferred_username, ada.locale, ada.two_step) == ("Ada Example", "ada", "de", True)
    assert bob.disabled_at is not None
    held = await memberships(ada.id)
    assert (held.group_names, held.roles) == (("Staff", "Writers"), ("auditor",))
    assert held.client_roles == {"wiki": ("editor", "reader")}
    partner = await organizations.named("partner")
    assert await is_member_of(bob.id, partner.id)
    assert not await is_member_of(ada.id, partner.id)
    assert [(one.issuer, one.subject) for one in await identities_of(ada.id)] == [
        ("https://accounts.google.com", "117233456789012345678")
    ]
    assert sum(export.lost.values()) == 8
    # A second run changes nothing.
    again = read(folder)
    assert await _apply(again) == (0, [])
    assert await _import(again) == people.Batch(0, 0, 3, [])


async def test_the_old_system_goes_on_changing(own_database: str, tmp_path: Path) -> None:
    folder = keycloak.write(tmp_path / "export", "acme.example")
    export = read(folder)
    await _apply(export)
    await _import(export)
    users = json.loads((folder / "acme-users-0.json").read_text())
    users["users"][0] |= {"groups": ["/Guests"], "realmRoles": [], "lastName": "Lovelace"}
    (folder / "acme-users-0.json").write_text(json.dumps(users))
    realm = json.loads((folder / "acme-realm.json").read_text())
    realm["clients"].append(keycloak.client("new", publicClient=True, redirectUris=["https://new.example/cb"]))
    realm["clients"][4] |= {"name": "Renamed"}
    (folder / "acme-realm.json").write_text(json.dumps(realm))
    # What exists is left alone, unless it is asked for.
    assert await _apply(read(folder)) == (2, ["clients wiki"])
    export = read(folder)
    assert await _apply(export, update=True) == (1, [])
    assert await _import(export) == people.Batch(0, 1, 2, [])
    held = await memberships(UUID(keycloak.ADA))
    assert (held.group_names, held.roles, held.client_roles) == (
        ("Guests",),
        ("auditor",),
        {"wiki": ("editor", "reader")},
    )


def test_scopes_of_this_server_are_not_given(tmp_path: Path) -> None:
    """Only an owner gives them, and a client of an export need not ask for consent."""
    names = ["admin:users:write", "admin:scim:write", "admin:future", "ssf.manage"]
    realm = keycloak.realm("acme.example")
    realm["clientScopes"] += [
        {"name": name, "protocol": "openid-connect", "protocolMappers": [keycloak.mapper(
            "site", "oidc-hardcoded-claim-mapper", claim__name="site", claim__value="x", jsonType__label="String")]}
        for name in names
    ]  # fmt: skip
    for one in realm["clients"]:
        one["optionalClientScopes"] += names
    (tmp_path / "realm.json").write_text(json.dumps(realm))
    export = read(tmp_path / "realm.json")
    for name, identifier in (("Ours", f"{settings().issuer}/admin/api"), ("Orders", "https://orders.example")):
        scope = f"orders {' '.join(names)}"
        export.add("resource_servers", {"identifier": identifier, "name": name, "scope": scope})
    found = configuration.document(export).items
    assert {item.entry.client_id for item in found["clients"]} == {"wiki", "spa", "worker", "orders-api"}
    given = {name for section in ("clients", "resource_servers") for item in found[section]
             for name in item.entry.scope.split()}  # fmt: skip
    assert "orders" in given
    assert not given & {*names}
    mappings = [one for item in found["claim_mappings"] for one in item.entry.mappings]
    assert "site" in {one.claim for one in mappings}
    assert not {one.scope for one in mappings} & {*names}
    # The identifier of the admin API is not free either.
    assert [item.entry.identifier for item in found["resource_servers"]] == ["https://orders.example"]
    note = f"Only an owner gives scopes of this server itself: {' '.join(names)}"
    assert ("clients wiki", note) in {(one.what, one.text) for one in export.notes}


async def test_administrators_are_left_alone(own_database: str, tmp_path: Path) -> None:
    """Also their groups, roles and organizations."""
    folder = keycloak.write(tmp_path / "export", "acme.example")
    await _apply(read(folder))
    await _import(read(folder))
    ada, bob = UUID(keycloak.ADA), UUID(keycloak.BOB)
    for user_id in (ada, bob):
        await admin_roles.grant(user_id, admin_roles.Role.SUPPORT)
    partner = await organizations.named("partner")
    await organizations.remove_members(partner.id, [bob])
    users = json.loads((folder / "acme-users-0.json").read_text())
    users["users"][0] |= {"groups": ["/Guests"], "lastName": "Lovelace"}
    (folder / "acme-users-0.json").write_text(json.dumps(users))
    export = read(folder)
    assert await _import(export) == people.Batch(0, 0, 3, [])
    assert export.lost["Administrators of this server are left alone: nothing of them is changed."] == 2
    assert (await memberships(ada)).group_names == ("Staff", "Writers")
    assert not await is_member_of(bob, partner.id)


async def test_what_was_taken_here_is_not_given_again(own_database: str, tmp_path: Path) -> None:
    folder = keycloak.write(tmp_path / "export", "acme.example")
    users = json.loads((folder / "acme-users-1.json").read_text())
    users["users"][1] |= {"realmRoles": ["auditor"]}
    (folder / "acme-users-1.json").write_text(json.dumps(users))
    await _apply(read(folder))
    await _import(read(folder))
    ada, bob, eve = UUID(keycloak.ADA), UUID(keycloak.BOB), UUID(keycloak.EVE)
    partner = await organizations.named("partner")
    writers = next(row["id"] for row in await all_rows(GROUPS) if row["name"] == "Writers")
    auditor = next(row["id"] for row in await all_rows(OWN_ROLES) if row["name"] == "auditor")
    assert await groups.remove_members(writers, [ada]) == 1
    assert await organizations.remove_members(partner.id, [bob]) == 1
    assert await roles.take(auditor, [eve]) == 1
    await _import(read(folder))
    assert (await memberships(ada)).group_names == ()
    assert not await is_member_of(bob, partner.id)
    assert (await memberships(eve)).roles == ()


def _credential(values: dict[str, Any]) -> Credential:
    return Credential(type=values["type"], secret_data=values["secretData"], credential_data=values["credentialData"])


async def test_hashes_and_apps() -> None:
    lost = Counter[str]()
    for algorithm in ALGORITHMS:
        stored = credentials.read([_credential(keycloak.password(algorithm))], lost)["password_hash"]
        imported_hashes.validate(stored)
        assert await verify_password(stored, PASSWORD), algorithm
        assert not await verify_password(stored, "another password"), algorithm
    secret = credentials.read([_credential(keycloak.app())], lost)["totp_secret"]
    assert secret == b32encode(keycloak.APP_SECRET.encode()).decode().rstrip("=")
    encoded = _credential(keycloak.app(secretEncoding="BASE32"))
    assert credentials.read([encoded], lost)["totp_secret"] == keycloak.APP_SECRET
    assert lost == {}
    for other in ({"digits": 8}, {"period": 60}, {"algorithm": "HmacSHA256"}, {"subType": "hotp"}):
        assert credentials.read([_credential(keycloak.app(**other))], lost) == {}
    assert credentials.read([Credential(type="password", secret_data="{", credential_data="[]")], lost) == {}
    assert sum(lost.values()) == 5


@pytest.fixture
async def served(own_cli: OwnCli, tmp_path: Path) -> AsyncIterator[tuple[Cli, Server]]:
    """A server with an imported realm, whose users have passwords of each algorithm."""
    cli = await own_cli()
    keycloak.write(cli.folder / "export", "acme.example")
    more = [
        keycloak.user(_sub(algorithm), algorithm, "acme.example", credentials=[keycloak.password(algorithm)])
        for algorithm in ALGORITHMS
    ]
    (cli.folder / "export" / "acme-users-2.json").write_text(json.dumps({"realm": "acme", "users": more}))
    imported = cli("migrate", "keycloak", "export", "--apply", "--json").json
    assert imported["users"] == {"imported": 7, "updated": 0, "unchanged": 0, "refused": 0}
    server = Server(
        tmp_path, IDP_DATABASE_URL=cli.settings["IDP_DATABASE_URL"], IDP_MASTER_KEY=MASTER_KEY,
        IDP_ADDRESS_LIMITS="false",
    )  # fmt: skip
    yield cli, server
    server.kill()


def _sub(algorithm: str) -> str:
    return f"{ALGORITHMS.index(algorithm)}0000000-1111-4222-8333-444444444444"


async def test_imported_users_sign_in(served: tuple[Cli, Server], http: httpx.AsyncClient) -> None:
    """With the password and the app that they have, at a client with the secret that it has."""
    cli, server = served
    wiki = RelyingParty(server.issuer, http, "wiki", keycloak.CLIENT_SECRET, scope="openid profile email")
    wiki.redirect_uri = "https://wiki.example/callback"
    for algorithm in ALGORITHMS:
        async with open_browser(server.issuer) as browser:
            tokens = await wiki.tokens(browser, f"{algorithm}@acme.example")
        for token in ("id_token", "access_token"):
            assert claims_of(tokens[token])["sub"] == _sub(algorithm)
        assert (await wiki.userinfo(tokens["access_token"])).json()["sub"] == _sub(algorithm)
    async with open_browser(server.issuer) as browser:
        page = as_page(await browser.sign_in(as_page(await wiki.authorize(browser)), "ada@acme.example", PASSWORD))
        app = pyotp.TOTP(b32encode(keycloak.APP_SECRET.encode()).decode().rstrip("="))
        answer = await browser.submit(page, "totp-submit", code=app.now())
        assert isinstance(answer, Redirect), answer.text
        tokens = (await wiki.redeem(answer.parameters["code"])).json()
    claims = claims_of(tokens["access_token"])
    assert claims["sub"] == keycloak.ADA
    assert claims["realm_access"] == {"roles": ["auditor"]}
    assert claims["resource_access"] == {"wiki": {"roles": ["editor", "reader"]}}
    assert claims["teams"] == ["Staff", "Writers"]
    assert claims_of(tokens["id_token"])["cost_center"] == "4711"
    # Their hashes are ours now. Another run still changes nothing.
    again = cli("migrate", "keycloak", "export", "--apply", "--json").json
    assert again["users"] == {"imported": 0, "updated": 0, "unchanged": 7, "refused": 0}
    assert again["configuration"]["plan"]["changes"] == []


async def test_the_command(own_cli: OwnCli) -> None:
    cli = await own_cli()
    folder = keycloak.write(cli.folder / "export", "acme.example")
    shown = cli("migrate", "keycloak", "export", "-o", "out")
    assert "  + wiki" in shown.out
    assert "Users, if it is applied: 3 imported, 0 updated, 0 unchanged, 0 refused." in shown.out
    assert shown.err == "Nothing was changed. Make the changes with --apply.\n"
    secrets_file = cli.folder / "out" / "secrets.env"
    assert secrets_file.stat().st_mode & 0o077 == 0
    assert f"CLIENT_WIKI_SECRET={keycloak.CLIENT_SECRET}\n" in secrets_file.read_text()
    assert keycloak.CLIENT_SECRET not in shown.out + (cli.folder / "out" / "site.yaml").read_text()
    # The file is one of idp config.
    variables = dict(line.split("=", 1) for line in secrets_file.read_text().splitlines())
    assert "17 to create." in cli("config", "plan", "-f", "out/site.yaml", code=2, **variables).out
    # A secret that the export has not comes from the environment, and replaces one that is there.
    given = {"CLIENT_MASKED_SECRET": "x" * 40, "UPSTREAM_GOOGLE_SECRET": "of google"}
    applied = cli("migrate", "keycloak", "export", "--only", "configuration", "--apply", **given)
    assert "  + masked" in applied.out
    assert "masked" not in cli("migrate", "keycloak", "export", "--only", "users").out
    users = json.loads((folder / "acme-users-1.json").read_text())
    users["users"] += [{"id": "1", "email": "x@acme.example"}, {"id": keycloak.ADA[:-1] + "5"}, {"email": 7}]
    (folder / "acme-users-1.json").write_text(json.dumps(users))
    refused = cli("migrate", "keycloak", "export", "--only", "users", "--apply", "--report", "refused.jsonl", code=1)
    assert "Users: 3 imported, 0 updated, 0 unchanged, 3 refused." in refused.out
    assert refused.err.splitlines() == [
        f"acme-users-1.json: users[3]: x@acme.example: {SUB}",
        "acme-users-1.json: users[4]: no address: There is no email address.",
        "acme-users-1.json: users[5]: no address: acme-users-1.json: users[5].email: Expected str, got int.",
    ]
    assert len((cli.folder / "refused.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is no valid JSON"),
        ("{", "is no valid JSON"),
        ("[]", "the whole: Expected object, got array."),
        ("{}", "there is no member realm"),
        ('{"realm": "x", "clients": {}}', "clients: Expected array, got object."),
        (
            '{"realm": "x", "clients": [{"clientId": "a"}, {"clientId": 7}]}',
            "clients[1].clientId: Expected str, got int.",
        ),
        ('{"realm": "x", "groups": [{"name": "a", "subGroups": [7]}]}', "groups[0].subGroups[0]: Expected object"),
        ('{"realm": "x", "users": 7}', "users: Expected array, got int."),
        ('{"realm": "x", "a": ' + "[" * 100_000 + "]" * 100_000 + "}", "is no valid JSON"),
        ('{"realm": "\\ud800"}', "is no valid JSON"),
    ],
)
def test_a_broken_file(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "realm.json"
    file.write_text(text)
    with pytest.raises(ExportError) as caught:
        list(read(file).people())
    assert problem in caught.value.description
    assert caught.value.description.startswith("realm.json")


def test_lifetimes_are_kept_or_told(tmp_path: Path) -> None:
    realm = keycloak.realm("acme.example") | {"clientSessionIdleTimeout": 600, "clientSessionMaxLifespan": 0}
    own = {
        "bank": {"access.token.lifespan": "60", "client.session.idle.timeout": "600",
                 "client.session.max.lifespan": "3600", "client.offline.session.idle.timeout": ""},
        "batch": {"access.token.lifespan": "36000", "client.session.idle.timeout": "59",
                  "client.session.max.lifespan": "99999999"},
        "odd": {"access.token.lifespan": "-1", "client.offline.session.max.lifespan": "86400"},
    }  # fmt: skip
    for name, attributes in own.items():
        realm["clients"].append(
            keycloak.client(name, publicClient=True, redirectUris=["https://bank.example/cb"], attributes=attributes)
        )
    (tmp_path / "realm.json").write_text(json.dumps(realm | {"rememberMe": False}))
    export = read(tmp_path / "realm.json")
    members = ("access_token_lifetime", "refresh_token_lifetime", "refresh_token_family_lifetime")
    clients = {entry["client_id"]: [entry.get(member) for member in members] for entry in export.entries["clients"]}
    assert clients["bank"] == [60, 600, 3600]
    assert clients["batch"] == [36000, None, 99999999]
    assert clients["odd"] == [None, None, None]
    notes = {(note.weight, note.what, note.text.split(":")[0]) for note in export.notes}
    assert {note[1:] for note in notes if note[1].removeprefix("client ") in own and note[2].endswith(" seconds")} == {
        ("client batch", "access.token.lifespan of 36000 seconds"),
        ("client batch", "client.session.idle.timeout of 59 seconds"),
        ("client batch", "client.session.max.lifespan of 99999999 seconds"),
        ("client odd", "access.token.lifespan of -1 seconds"),
        ("client odd", "client.offline.session.max.lifespan of 86400 seconds"),
    }
    assert {
        (Weight.SKIPPED, "lifetimes", "clientSessionIdleTimeout of 600 seconds"),
        (Weight.CHANGED, "remember me", "Sessions outlive the browser here, up to IDP_SESSION_IDLE_LIFETIME."),
        (Weight.CHANGED, "client batch", "client.session.max.lifespan of 99999999 seconds"),
        (Weight.SKIPPED, "client odd", "client.offline.session.max.lifespan of 86400 seconds"),
    } <= notes
    assert not [text for _weight, _what, text in notes if "MaxLifespan" in text]


async def test_a_hostile_realm(own_database: str, tmp_path: Path) -> None:
    """Every value of another type, too long, or with characters that no name has, is an error or a note."""
    realm = keycloak.realm("acme.example")
    realm["clients"] += [
        keycloak.client("a b", publicClient=True, redirectUris=["https://x.example/"]),
        keycloak.client("evil", name="\x1b[31m", publicClient=True, redirectUris=["javascript:alert(1)"]),
        keycloak.client("keys", clientAuthenticatorType="client-jwt", redirectUris=["https://x.example/cb"],
                        attributes={"jwks.string": "["}),
        keycloak.client("wiki", secret=keycloak.CLIENT_SECRET, redirectUris=["https://twice.example/"]),
    ]  # fmt: skip
    realm["roles"]["realm"] += [
        {"name": "x" * 5000, "description": "\u202e" * 9000},
        {"name": "one", "composites": {"realm": ["two", "x" * 5000]}},
        {"name": "two", "composites": {"realm": ["one"], "client": {"legacy": ["boss"], "wiki": ["reader"]}}},
    ]
    realm["groups"].append({"name": " ", "subGroups": [{"name": "below"}]})
    (tmp_path / "realm.json").write_text(json.dumps(realm))
    export = read(tmp_path / "realm.json")
    document = configuration.document(export)
    names = {item.entry.client_id for item in document.items["clients"]}
    assert names == {"wiki", "spa", "worker", "orders-api"}
    skipped = [note.what for note in export.notes]
    kept, plan, _left = await configuration.plan(export, document, update=False)
    await configuration.apply(export, kept, plan.revision)
    assert {"clients a b", "clients evil", "clients keys", "clients wiki", "groups  "} <= set(skipped)
    contains = {item.entry.name: [one.name for one in item.entry.contains] for item in document.items["roles"]}
    assert sorted([contains["one"], contains["two"]]) in ([[], ["one", "reader"]], [["reader"], ["two"]])
    assert "below" in {item.entry.name for item in document.items["groups"]}


def test_secrets_of_similar_names(tmp_path: Path) -> None:
    """Each client keeps its own."""
    clients = [
        keycloak.client(name, secret=name * 16, redirectUris=["https://x.example/cb"]) for name in ("a.b", "a-b", "a_b")
    ]
    (tmp_path / "realm.json").write_text(json.dumps({"realm": "acme", "clients": clients}))
    export = read(tmp_path / "realm.json")
    given = {one["client_id"]: export.secrets[one["client_secret"]["env"]] for one in export.entries["clients"]}
    assert given == {name: name * 16 for name in ("a.b", "a-b", "a_b")}


def test_a_folder_with_several_realms(tmp_path: Path) -> None:
    folder = keycloak.write(tmp_path / "export", "acme.example")
    (folder / "other-realm.json").write_text('{"realm": "other"}')
    with pytest.raises(ExportError, match=r"acme, other\. Choose one with --realm"):
        read(folder)
    assert len(list(read(folder, "acme").people())) == 3
    with pytest.raises(ExportError, match=r"no file third-realm\.json"):
        read(folder, "third")


def test_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idp.migration.reading.MAX_BYTES", 1000)
    folder = keycloak.write(tmp_path / "export", "acme.example")
    with pytest.raises(ExportError, match="users-per-file"):
        read(folder)
