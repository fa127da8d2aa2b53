"""`idp upstreams`."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from idp.federation.registry import load_stored
from idp.infra.db.engine import execute, fetchrow
from tests.cli.conftest import Cli
from tests.conftest import MASTER_KEY
from tests.support.isolated import own_database
from tests.support.server import LOOPBACK
from tests.support.stand_ins import CLIENT_ID, CLIENT_SECRET, GitHub, OpenIDProvider

__all__ = ["own_database"]

SECRET = {"input": "a-secret-of-ours\n"}
ADD = ("upstreams", "add", "--client-secret-file", "-", "--client-id", "us")


@pytest.fixture
def provider() -> Iterator[OpenIDProvider]:
    provider = OpenIDProvider()
    yield provider
    provider.stop()


@pytest.fixture
def cli(tmp_path: Path, own_database: str) -> Cli:
    """The command on a separate database, so that the shared server does not offer these providers."""
    return Cli(tmp_path, {"IDP_DATABASE_URL": own_database, "IDP_MASTER_KEY": MASTER_KEY})


async def test_the_life_of_one(cli: Cli, provider: OpenIDProvider) -> None:
    added = cli(
        *ADD, "--id", "acme", "--name", "Acme", "--issuer", provider.issuer,
        "--require", "groups=staff,admins", "--claim", "given_name=first", "--trust-email", "--json", **SECRET,
    )  # fmt: skip
    assert added.json == {"id": "acme", "redirect_uri": "http://localhost:8000/upstreams/acme/callback"}
    row = await fetchrow("SELECT config, client_secret FROM upstream WHERE id = 'acme'")
    assert row is not None
    assert "a-secret-of-ours" not in row["config"]
    assert b"a-secret-of-ours" not in bytes(row["client_secret"])

    (listed,) = [one for one in cli("upstreams", "list", "--json").json if one["id"] == "acme"]
    assert listed["required_claims"] == {"groups": ["staff", "admins"]}
    assert listed["redirect_uri"].endswith("/upstreams/acme/callback")
    assert "client_secret" not in listed
    assert "/upstreams/acme/callback" in cli("upstreams", "list", COLUMNS="300").out

    assert "refuses the client id" in cli("upstreams", "test", "acme", code=1, **LOOPBACK).err
    ours = ("upstreams", "add", "--disabled", "--client-secret-file", "-", "--client-id", CLIENT_ID)
    cli(*ours, "--id", "ours", "--name", "Ours", "--issuer", provider.issuer, input=CLIENT_SECRET)
    tested = cli("upstreams", "test", "ours", **LOOPBACK)
    assert provider.issuer in tested.out
    assert "1 keys" in tested.out
    assert "accepts the client id" in tested.out
    cli("upstreams", "enable", "ours")
    cli("upstreams", "delete", "ours", "--yes")

    cli("upstreams", "disable", "acme")
    assert "no upstream acme" in cli.fails("upstreams", "disable", "acme")
    cli("upstreams", "enable", "acme")
    again = cli.fails(*ADD, "--id", "acme", "--name", "x", "--issuer", provider.issuer, **SECRET)
    assert "already" in again

    cli("upstreams", "update", "acme", code=2)
    changed = cli(
        "upstreams", "update", "acme", "--name", "Acme Inc", "--require", "", "--no-trust-email", "--json"
    ).json
    assert (changed["name"], changed["required_claims"], changed["trust_email"]) == ("Acme Inc", {}, False)
    assert changed["claims"] == {"given_name": "first"}
    assert "client_secret" not in changed
    assert [one.client_secret for one in await load_stored() if one.id == "acme"] == ["a-secret-of-ours"]
    cli("upstreams", "update", "acme", "--client-secret-file", "-", input="another\n")
    assert [one.client_secret for one in await load_stored() if one.id == "acme"] == ["another"]
    assert "one line" in cli.fails("upstreams", "update", "acme", "--name", "x" * 61)
    assert "no upstream none" in cli.fails("upstreams", "update", "none", "--name", "x")
    assert "sign in with Acme Inc. Delete it?" in cli("upstreams", "delete", "acme", input="n\n", code=1).out
    assert "sign-ins with Acme Inc end now" in cli("incident", "revoke", "upstream", "acme", input="n\n", code=1).out
    assert "is deleted" in cli("upstreams", "delete", "acme", "--yes").out
    assert "no upstream acme" in cli.fails("upstreams", "delete", "acme", "--yes")


def test_github_enterprise_server(cli: Cli) -> None:
    github = GitHub()
    try:
        cli(*ADD, "--kind", "github", "--id", "acme", "--issuer", github.url, **SECRET)
        assert "refuses the client id" in cli("upstreams", "test", "acme", code=1, **LOOPBACK).err
        cli("upstreams", "update", "acme", "--client-id", CLIENT_ID, "--client-secret-file", "-", input=CLIENT_SECRET)
        assert f"{github.url}/api/v3 answers" in cli("upstreams", "test", "acme", **LOOPBACK).out
        github.faults.add("error_500")
        assert "does not answer" in cli.fails("upstreams", "test", "acme", **LOOPBACK)
    finally:
        github.stop()


async def test_their_order(cli: Cli) -> None:
    for name in ("acme", "apple", "google"):
        cli(*ADD, "--id", name, "--name", name, "--issuer", "https://x.example", **SECRET)

    def listed() -> list[str]:
        found = [one["id"] for one in cli("upstreams", "list", "--json").json]
        return [name for name in found if name in ("acme", "apple", "google")]

    assert listed() == ["acme", "apple", "google"]
    cli("upstreams", "order", "google", "acme")
    assert listed() == ["google", "acme", "apple"]
    for wrong in (["acme", "none"], ["acme", "acme"]):
        assert "does not exist" in cli.fails("upstreams", "order", *wrong)
    assert listed() == ["google", "acme", "apple"]


async def test_one_that_does_not_answer(cli: Cli) -> None:
    cli(
        "upstreams",
        "add",
        "--id",
        "acme",
        "--name",
        "Acme",
        "--issuer",
        "http://127.0.0.1:9",
        "--client-id",
        "us",
        **SECRET,
    )
    assert "does not answer" in cli.fails("upstreams", "test", "acme", **LOOPBACK)
    # The server must not call it either if no setting allows it.
    assert cli.fails("upstreams", "test", "acme")


def test_google_and_github_by_settings(cli: Cli) -> None:
    listed = cli(
        "upstreams", "list", "--json", IDP_GOOGLE_CLIENT_ID="g", IDP_GOOGLE_CLIENT_SECRET="gs",
        IDP_GOOGLE_DOMAINS="example.com, example.org", IDP_GITHUB_CLIENT_ID="h", IDP_GITHUB_CLIENT_SECRET="hs",
        IDP_GITHUB_ORGANIZATIONS="ours",
    )  # fmt: skip
    google, github = listed.json[:2]
    assert (google["id"], google["issuer"]) == ("google", "https://accounts.google.com")
    assert google["required_claims"] == {"hd": ["example.com", "example.org"]}
    assert google["redirect_uri"] == "http://localhost:8000/upstreams/google/callback"
    assert (github["id"], github["organizations"]) == ("github", ["ours"])
    assert "already" in cli.fails(*ADD, "--kind", "google", IDP_GOOGLE_CLIENT_ID="g", **SECRET)


async def test_an_upstream_of_an_organization(cli: Cli, provider: OpenIDProvider) -> None:
    given = (*ADD, "--id", "acme", "--name", "Acme", "--issuer", provider.issuer, "--organization", "acme")
    assert "no such organisation" in cli.fails(*given, **SECRET)
    (made,) = [json.loads(cli("organizations", "create", "acme", "--name", "Acme", "--json").out)]
    cli(*given, "--adds-members", **SECRET)
    (listed,) = [one for one in cli("upstreams", "list", "--json").json if one["id"] == "acme"]
    assert (listed["organization_id"], listed["adds_members"]) == (made["id"], True)
    assert "acme" in cli("upstreams", "list", COLUMNS="300").out
    cli("upstreams", "update", "acme", "--no-adds-members")
    assert not (await load_stored())[0].adds_members
    cli("organizations", "add-domain", "acme", "acme.example")
    await execute("UPDATE organization_domain SET verified_at = now(), next_check_at = now()")
    enforce = ("organizations", "enforce-domain", "acme", "acme.example")
    cli("upstreams", "disable", "acme")
    assert "no enabled upstream" in cli.fails(*enforce)
    cli("upstreams", "enable", "acme")
    assert "is enforced" in cli(*enforce).out
    assert "is not enforced" in cli(*enforce, "--off").out
    assert "Only an upstream of an organisation" in cli.fails(
        *ADD, "--id", "other", "--name", "x", "--issuer", provider.issuer, "--adds-members", **SECRET
    )


WRONG = {
    "no issuer": ["--name", "x"],
    "an issuer that is no URL": ["--name", "x", "--issuer", "acme"],
    "an issuer with a query": ["--name", "x", "--issuer", "https://acme.example/?x=1"],
    "no openid": ["--name", "x", "--issuer", "https://acme.example", "--scope", "profile"],
    "no such kind": ["--name", "x", "--kind", "facebook"],
    "an odd id": ["--id", "Acme Inc", "--name", "x", "--issuer", "https://acme.example"],
    "an odd name": ["--id", "acme", "--name", "x" * 61, "--issuer", "https://acme.example"],
    "no such claim": ["--name", "x", "--issuer", "https://acme.example", "--claim", "password_hash=x"],
    "addresses of all tenants": ["--kind", "microsoft", "--trust-email"],
    "apple without its options": ["--kind", "apple"],
    "apple with a secret that is no key": ["--kind", "apple", "--option", "team_id=T", "--option", "key_id=K"],
    "claims of github": ["--kind", "github", "--require", "hd=x"],
}


@pytest.mark.parametrize("options", WRONG.values(), ids=WRONG)
def test_invalid_options_are_refused(cli: Cli, options: list[str]) -> None:
    assert cli.fails(*ADD, *options, **SECRET)


async def test_apple(cli: Cli) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    cli(*ADD, "--kind", "apple", "--option", "team_id=T", "--option", "key_id=K", input=pem)
    (stored,) = [one for one in await load_stored() if one.kind == "apple"]
    assert (stored.id, stored.client_id, stored.client_secret) == ("apple", "us", pem.strip())
    assert stored.options == {"team_id": "T", "key_id": "K"}


async def test_the_commands_of_the_document(cli: Cli) -> None:
    """docs/provisioning.md."""
    for kind in ("google", "github"):
        cli(*ADD, "--kind", kind, **SECRET)
    for name in ("entra", "okta", "keycloak"):
        cli(*ADD, "--id", name, "--name", name, "--issuer", "https://login.example", **SECRET)
    text = (Path(__file__).parents[2] / "docs" / "provisioning.md").read_text().replace("\\\n", " ")
    for command in re.findall(r"^\$ idp (.*)$", text, re.MULTILINE):
        cli(*shlex.split(command))
    stored = {one.id: one.rules for one in await load_stored()}
    assert {name: len(rules) for name, rules in stored.items()} == {
        "google": 1, "github": 2, "entra": 2, "okta": 2, "keycloak": 2
    }  # fmt: skip
    assert all(UUID(rule.group or rule.role) for rule in stored["entra"])  # type: ignore[arg-type]
    shown = next(one for one in cli("upstreams", "list", "--json").json if one["id"] == "okta")
    assert shown["rules"][0] == {"claim": "groups", "prefix": "idp-", "each": True}
    cli("upstreams", "update", "okta", "--rule", "{", code=2)
    assert "no group nobody" in cli.fails(
        "upstreams", "update", "okta", "--rule", '{"claim": "x", "equals": "y", "group": "nobody"}'
    )
    assert "rules" in cli.fails("upstreams", "update", "okta", "--rule", "7")
    cli("upstreams", "update", "okta", "--rule", "")
    assert [one.rules for one in await load_stored() if one.id == "okta"] == [()]


def test_what_to_register(cli: Cli) -> None:
    assert "http://localhost:8000/upstreams/google/callback" in cli("upstreams", "guide", "google", COLUMNS="200").out
    assert "/upstreams/code/callback" in cli("upstreams", "guide", "gitlab", "--id", "code", COLUMNS="200").out
    assert "keycloak" in cli("upstreams", "guide").out
    assert "The providers are google" in cli("upstreams", "guide", "facebook", code=2).err
