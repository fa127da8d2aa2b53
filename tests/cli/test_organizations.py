"""`idp organizations`."""

import json
import re
import secrets
import shlex
from pathlib import Path
from uuid import UUID

from idp.directory import member_states
from idp.infra.db.engine import fetch
from tests.cli.conftest import Cli
from tests.conftest import MakeUser
from tests.support.directory import an_organization
from tests.support.nameserver import Nameserver
from tests.support.realms import an_enforced_domain
from tests.support.server import Server


async def test_an_organization_from_its_creation_to_its_end(cli: Cli, make_user: MakeUser) -> None:
    ada, slug = (await make_user(name="Ada")).email, f"acme-{secrets.token_hex(6)}"
    made = json.loads(cli("organizations", "create", slug, "--name", "Acme", "--json").out)
    assert (made["slug"], made["name"], made["disabled_at"]) == (slug, "Acme", None)
    assert "has this slug" in cli.fails("organizations", "create", slug, "--name", "Acme")
    assert "lower-case" in cli.fails("organizations", "create", "Acme", "--name", "Acme")
    assert "1 added" in cli("organizations", "add-member", slug, ada, "--admin").out
    assert "There is no user" in cli.fails("organizations", "add-member", slug, ada, "nobody@example.com")
    (member,) = json.loads(cli("organizations", "members", made["id"], "--json").out)
    assert (member["email"], member["admin"], member["origin"]) == (ada, True, "admin")
    assert ada in cli("organizations", "members", slug).out
    assert slug in cli("organizations", "list").out
    assert json.loads(cli("organizations", "list", "--user", ada, "--json").out) == [made]
    cli("organizations", "create-role", slug, "Editor", "--description", "Changes articles")
    assert "1 got the role" in cli("organizations", "give-role", slug, "editor", ada).out
    assert "no role with this name" in cli.fails("organizations", "give-role", slug, "reader", ada)
    (role,) = json.loads(cli("organizations", "roles", slug, "--json").out)
    assert (role["name"], role["description"]) == ("Editor", "Changes articles")
    assert "no longer" in cli("organizations", "set-admin", slug, ada, "--off").out
    assert "was active" in cli("organizations", "reactivate-member", slug, ada).out
    assert await member_states.set_enabled(UUID(made["id"]), UUID(member["user_id"]), enabled=False)
    assert json.loads(cli("organizations", "members", slug, "--json").out)[0]["membership_disabled_at"]
    assert "is active" in cli("organizations", "reactivate-member", slug, ada).out
    assert "Acme 2" in cli("organizations", "rename", slug, "Acme 2").out
    assert "disabled" in cli("organizations", "disable", slug).out
    assert json.loads(cli("organizations", "show", slug, "--json").out)["disabled_at"]
    assert "enabled" in cli("organizations", "enable", slug).out
    assert "1 lost the role" in cli("organizations", "take-role", slug, "editor", ada).out
    assert "1 removed" in cli("organizations", "remove-member", slug, ada).out
    assert "not a member" in cli.fails("organizations", "give-role", slug, "editor", ada)
    assert slug in cli("organizations", "show", slug).out
    domain = f"{secrets.token_hex(6)}.example"
    record = json.loads(cli("organizations", "add-domain", slug, domain.upper(), "--json").out)
    assert (record["domain"], record["record_name"]) == (domain, f"_idp-challenge.{domain}")
    assert "idp-domain-verification=" in cli("organizations", "add-domain", slug, f"a.{domain}").out
    assert "Verify the domain first" in cli.fails("organizations", "enforce-domain", slug, domain)
    assert "There is no such domain" in cli.fails("organizations", "verify-domain", slug, f"b.{domain}")
    assert domain in cli("organizations", "domains", slug).out
    assert "is removed" in cli("organizations", "remove-domain", slug, domain).out
    assert len(json.loads(cli("organizations", "domains", slug, "--json").out)) == 1
    assert "Aborted" in cli("organizations", "delete", slug, input="n\n", code=1).err
    assert "is deleted" in cli("organizations", "delete", slug, "--yes").out
    assert "There is no such organisation" in cli.fails("organizations", "show", slug)


async def test_the_sign_in_policy(cli: Cli, server: Server) -> None:
    organization = await an_organization()
    slug = organization.slug
    options = ("--second-factor", "required", "--session-max-age", "8h", "--way", "passkey", "--json")
    policy = json.loads(cli("organizations", "set-policy", slug, *options).out)
    assert policy == {"second_factor": True, "session_max_age": 28_800, "session_idle": None, "ways": ["passkey"]}
    assert json.loads(cli("organizations", "policy", slug, "--json").out) == policy
    assert "required" in cli("organizations", "policy", slug).out
    assert "must be 300" in cli.fails("organizations", "set-policy", slug, "--session-idle", "1m")
    async with an_enforced_domain(organization, server) as domain:
        assert domain in cli.fails("organizations", "set-policy", slug, "--way", "password")
        assert "password" in cli("organizations", "set-policy", slug, "--way", "password", "--accept-lockout").out
    assert "has no sign-in policy" in cli("organizations", "remove-policy", slug).out
    assert not json.loads(cli("organizations", "policy", slug, "--json").out)["second_factor"]


async def test_an_invitation(cli: Cli, make_user: MakeUser) -> None:
    slug, email = f"acme-{secrets.token_hex(6)}", f"{secrets.token_hex(6)}@example.com"
    cli("organizations", "create", slug, "--name", "Acme")
    cli("organizations", "create-role", slug, "Editor")
    made = json.loads(cli("organizations", "invite", slug, email.upper(), "--role", "editor", "--admin", "--json").out)
    assert made["email"] == email
    assert "/invitation/organization?token=" in made["link"]
    assert "There is no such role" in cli.fails("organizations", "invite", slug, f"x{email}", "--role", "reader")
    assert "invited already" in cli.fails("organizations", "invite", slug, email)
    (found,) = json.loads(cli("organizations", "invitations", slug, "--json").out)
    assert (found["email"], found["state"], found["admin"], found["id"]) == (email, "open", True, made["id"])
    again = json.loads(cli("organizations", "resend-invitation", slug, email, "--json").out)
    assert again["id"] == made["id"]
    assert again["link"] != made["link"]
    assert email in cli("organizations", "invitations", slug).out
    assert "is revoked" in cli("organizations", "revoke-invitation", slug, email).out
    assert "There is no such invitation" in cli.fails("organizations", "revoke-invitation", slug, email)
    invited = cli("organizations", "invite", slug, email)
    assert email in invited.out
    assert "No mail is sent" in invited.err
    cli("organizations", "delete", slug, "--yes")


async def test_the_commands_of_the_document(cli: Cli, make_user: MakeUser, nameserver: Nameserver) -> None:
    """docs/organizations.md, with other names."""
    text = (Path(__file__).parents[2] / "docs" / "organizations.md").read_text().replace("\\\n", " ")
    commands = re.findall(r"^\$ idp ((?:organizations|upstreams|branding) .*)$", text, re.MULTILINE)
    values = {f"{name}@example.com": (await make_user(name=name)).email for name in ("ada", "bob")}
    values["carol@example.com"] = f"{secrets.token_hex(6)}@example.com"
    values["acme"] = f"acme-{secrets.token_hex(6)}"
    values["example.com"] = f"{secrets.token_hex(6)}.example"
    for command in commands:
        if command.startswith("organizations verify-domain"):
            (row,) = await fetch("SELECT token FROM organization_domain WHERE domain = $1", values["example.com"])
            name = f"_idp-challenge.{values['example.com']}"
            nameserver.records[name] = [f"idp-domain-verification={row['token']}"]
        words = (values.get(word, word) for word in shlex.split(command))
        cli(*words, IDP_DNS_RESOLVER=nameserver.address, input="the client secret\n")
    assert len(commands) == 29
    cli("organizations", "delete", values["acme"], "--yes")
