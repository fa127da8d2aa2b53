"""`idp scim-tokens`."""

import uuid

from idp import ids
from idp.directory import organizations
from idp.infra.db.engine import fetchrow
from tests.cli.conftest import Cli
from tests.support.directory import an_organization


async def test_the_life_of_a_token(db: str, cli: Cli) -> None:
    created = cli("scim-tokens", "create", "Directory of the company", "--read-only", "--lifetime", "30d", "--json")
    token, id_ = created.json["token"], created.json["id"]
    assert "shown only now" not in created.out
    row = await fetchrow("SELECT token_hash, writes FROM scim_token WHERE id = $1", uuid.UUID(id_))
    assert row is not None
    assert tuple(row) == (ids.digest(token), False)
    (listed,) = [each for each in cli("scim-tokens", "list", "--json").json if each["id"] == id_]
    assert listed["name"] == "Directory of the company"
    assert token not in str(listed)
    assert "Directory" in cli("scim-tokens", "list").out
    rotated = cli("scim-tokens", "rotate", id_, "--overlap", "1h")
    assert token not in rotated.out
    assert "IDP_SCIM is off" in rotated.err
    row = await fetchrow("SELECT old_token_hash FROM scim_token WHERE id = $1", uuid.UUID(id_))
    assert row is not None
    assert row["old_token_hash"] == ids.digest(token)
    assert "deleted" in cli("scim-tokens", "delete", id_).out
    for command in ("delete", "rotate"):
        assert "no SCIM token" in cli.fails("scim-tokens", command, id_)


async def test_of_an_organization(db: str, cli: Cli) -> None:
    organization = await an_organization()
    created = cli("scim-tokens", "create", "Acme", "--organization", organization.slug, "--json").json
    (listed,) = [each for each in cli("scim-tokens", "list", "--json").json if each["id"] == created["id"]]
    assert (listed["organization_id"], listed["organization"]) == (str(organization.id), organization.slug)
    assert "no such organisation" in cli.fails("scim-tokens", "create", "x", "--organization", "nothing-like-it")
    await organizations.delete(organization.id)


def test_what_is_refused(db: str, cli: Cli) -> None:
    assert "visible characters" in cli.fails("scim-tokens", "create", "")
    assert "expire" in cli.fails("scim-tokens", "create", "x", "--lifetime", "9999d")
