"""Declared mappings: what goes into tokens and responses of a client."""

import secrets
from typing import Any

import pytest

from idp.accounts.attributes import declaration
from idp.accounts.attributes import service as attributes_of_users
from idp.accounts.attributes.registry import attributes
from idp.accounts.claims import PROTECTED_CLAIMS
from idp.accounts.tables import User
from idp.directory import groups, roles
from idp.infra.db.engine import execute, fetch
from idp.oauth.claims import registration
from idp.oauth.claims.evaluation import Asked, claims
from idp.oauth.claims.models import Place
from idp.oauth.claims.registration import (
    MAX_MAPPINGS,
    ClaimMappingConflictError,
    InvalidClaimMappingError,
    UnknownClaimMappingError,
)
from idp.oauth.claims.user import ClaimUser
from idp.oauth.clients.models import Client
from idp.oauth.clients.registration import UnknownClientError
from idp.oauth.clients.registry import registry
from idp.oauth.clients.service import delete_client
from tests.conftest import MakeClient, MakeUser
from tests.support.browser import Browser
from tests.support.claims import EVERYWHERE, a_mapping
from tests.support.directory import a_group, a_role, many_groups
from tests.support.exchange import a_service, allow, an_api, an_app, exchange, sign_in
from tests.support.tokens import claims_of


async def at(client: Client, user: User, place: Place, scope: str = "openid", **asked: Any) -> dict[str, Any]:
    return await claims(Asked(place=place, client=client, scopes=scope.split(), **asked), ClaimUser(user.id))


async def value(client: Client, user: User, source: dict[str, Any], shape: str = "value") -> Any:
    """Return what a source has, as a claim of a new name."""
    claim = f"c{secrets.token_hex(6)}"
    await a_mapping(client, claim, source, shape=shape, places=["userinfo"])
    return (await at(client, user, Place.USERINFO)).get(claim)


async def test_every_place_of_the_protocol(browser: Browser, make_client: MakeClient, alice: User) -> None:
    """At the server: the claim goes where the mapping says, also for a client without any scope of its own for it."""
    client = await make_client(scope="openid")
    group = await a_group(alice, name="team")
    for place in Place:
        await registration.add(
            client.client_id, claim=f"in_{place}", source={"kind": "groups", "names": [group.name]}, places=[place]
        )
    await make_client()  # The server has loaded the mappings when it knows a client that is newer.
    first = await client.tokens(browser, alice.email)
    for tokens in (first, (await client.refresh(first["refresh_token"])).json()):
        found = {
            Place.ID_TOKEN: claims_of(tokens["id_token"]),
            Place.ACCESS_TOKEN: claims_of(tokens["access_token"]),
            Place.USERINFO: (await client.userinfo(tokens["access_token"])).json(),
        }
        for place, content in found.items():
            assert {name for name in content if name.startswith("in_")} == {f"in_{place}"}
            assert content[f"in_{place}"] == [group.name]
        introspected = await client.introspect(tokens["access_token"])
        assert {name for name in introspected if name.startswith("in_")} == {"in_introspection", "in_access_token"}


async def test_the_filters_of_groups(db: str, alice: User) -> None:
    app, tag = await an_app("openid"), secrets.token_hex(4)
    for name in ("app-read", "app-write", "app-", "other"):
        group = await groups.create(f"{tag}-{name}")
        await groups.add_members(group.id, [alice.id])
    read, write, bare, other = (f"{tag}-{name}" for name in ("app-read", "app-write", "app-", "other"))
    assert await value(app, alice, {"kind": "groups"}) == [bare, read, write, other]
    assert await value(app, alice, {"kind": "groups", "prefix": f"{tag}-app-"}) == [bare, read, write]
    stripped = {"kind": "groups", "prefix": f"{tag}-app-", "strip_prefix": True}
    assert await value(app, alice, stripped) == ["read", "write"]
    assert await value(app, alice, {"kind": "groups", "names": [other, "no such group"]}) == [other]
    assert await value(app, alice, {"kind": "groups", "names": ["no such group"]}) == []
    assert await value(app, alice, stripped, "commas") == "read,write"
    assert await value(app, alice, {"kind": "groups", "names": ["no such group"]}, "spaces") is None


async def test_a_name_cannot_look_like_two(db: str, alice: User) -> None:
    """Whoever may name groups could otherwise add one that the user is not in."""
    app, tag = await an_app("openid"), secrets.token_hex(4)
    for name in (f"{tag} admins", f"{tag},admins", tag):
        group = await groups.create(name)
        await groups.add_members(group.id, [alice.id])
    assert await value(app, alice, {"kind": "groups"}, "spaces") == f"{tag} {tag},admins"
    assert await value(app, alice, {"kind": "groups"}, "commas") == f"{tag},{tag} admins"


async def test_the_roles_of_one_client(db: str, alice: User) -> None:
    app, other = await an_app("openid"), await an_app("openid")
    of_server = await a_role(alice)
    here, there = await a_role(alice, client_id=app.client_id), await a_role(alice, client_id=other.client_id)
    assert await value(app, alice, {"kind": "roles"}) == sorted([of_server.name, here.name])
    assert await value(app, alice, {"kind": "roles", "of": "server"}) == [of_server.name]
    assert await value(app, alice, {"kind": "roles", "of": "client"}) == [here.name]
    named = {"kind": "roles", "of": "client", "client_id": other.client_id}
    assert await value(app, alice, named) == [there.name]
    assert await value(app, alice, named, "object") == {other.client_id: {"roles": [there.name]}}
    assert await value(app, alice, {"kind": "roles", "of": "server"}, "object") == {"roles": [of_server.name]}


async def test_objects_of_several_clients_are_one_claim(db: str, alice: User) -> None:
    """As Keycloak writes it."""
    app, other = await an_app("openid"), await an_app("openid")
    here, there = await a_role(alice, client_id=app.client_id), await a_role(alice, client_id=other.client_id)
    for source in ({"of": "client"}, {"of": "client", "client_id": other.client_id}):
        await a_mapping(app, "resource_access", {"kind": "roles"} | source, shape="object")
    assert (await at(app, alice, Place.ID_TOKEN))["resource_access"] == {
        app.client_id: {"roles": [here.name]},
        other.client_id: {"roles": [there.name]},
    }
    nobody_here = await an_app("openid")
    await a_mapping(nobody_here, "resource_access", {"kind": "roles", "of": "client"}, shape="object")
    assert await at(nobody_here, alice, Place.ID_TOKEN) == {}


async def test_profile_and_constant(db: str, make_user: MakeUser) -> None:
    app, user = await an_app("openid"), await make_user(name="Alice", email_verified=True, address={"country": "FR"})
    assert await value(app, user, {"kind": "profile", "claim": "name"}) == "Alice"
    assert await value(app, user, {"kind": "profile", "claim": "address"}) == {"country": "FR"}
    assert await value(app, user, {"kind": "profile", "claim": "nickname"}) is None
    assert await value(app, user, {"kind": "constant", "value": "acme"}) == "acme"
    await a_mapping(app, "email_verified", {"kind": "profile", "claim": "email_verified"}, places=["access_token"])
    assert await at(app, user, Place.ACCESS_TOKEN) == {"email_verified": True}


async def test_attributes(db: str, alice: User) -> None:
    """By a mapping, and by the scope of the declaration."""
    app = await an_app("openid hr")
    name, several = f"a{secrets.token_hex(6)}", f"a{secrets.token_hex(6)}"
    await declaration.declare(name=name, type="integer", label={"default": "Number"})
    await declaration.declare(
        name=several, type="string", multivalued=True, label={"default": "Several"}, scope="hr", claim="languages"
    )
    await attributes.load()
    await attributes_of_users.change(alice.id, {name: 7, several: ["de", "en"]})
    assert await value(app, alice, {"kind": "attribute", "name": name}) == 7
    assert await value(app, alice, {"kind": "attribute", "name": name}, "spaces") == "7"
    assert await value(app, alice, {"kind": "attribute", "name": several}) == ["de", "en"]
    assert await value(app, alice, {"kind": "attribute", "name": several}, "spaces") == "de en"
    assert (await at(app, alice, Place.USERINFO, "openid hr"))["languages"] == ["de", "en"]
    assert "languages" not in await at(app, alice, Place.USERINFO)
    assert "languages" not in await at(app, alice, Place.ID_TOKEN, "openid hr")
    assert (await at(app, alice, Place.ID_TOKEN, "openid hr", profile=True))["languages"] == ["de", "en"]
    assert "languages" not in await at(app, alice, Place.ACCESS_TOKEN, "openid hr")
    asks = (await an_api("hr"),)
    assert (await at(app, alice, Place.ACCESS_TOKEN, "openid hr", resource=asks))["languages"] == ["de", "en"]
    await declaration.delete(several)
    await attributes.load()
    assert "languages" not in await at(app, alice, Place.USERINFO, "openid hr")


async def test_a_mapping_of_a_scope(db: str, alice: User) -> None:
    """For every client that gets the scope."""
    scope = f"wiki.{secrets.token_hex(4)}"
    one, other = await an_app(f"openid {scope}"), await an_app(f"openid {scope}")
    mapping = await a_mapping(None, "tenant", {"kind": "constant", "value": "acme"}, scope=scope, places=["id_token"])
    for client in (one, other):
        assert claims_of((await sign_in(client, alice)).id_token)["tenant"] == "acme"
        assert "tenant" not in claims_of((await sign_in(client, alice)).access_token)
        assert "tenant" not in claims_of((await sign_in(client, alice, scope="openid")).id_token)
    await a_mapping(one, "tenant", {"kind": "constant", "value": "one"}, scope=scope)
    assert claims_of((await sign_in(one, alice)).id_token)["tenant"] == "one"
    assert "tenant" not in claims_of((await sign_in(one, alice, scope="openid")).id_token)
    assert claims_of((await sign_in(other, alice)).id_token)["tenant"] == "acme"
    await registration.remove(mapping.id)


async def test_a_granted_scope_is_not_that_of_a_mapping(db: str, alice: User) -> None:
    """A standard claim that is made of something else needs the scope of the mapping, also if it is asked for."""
    app = await an_app("openid profile hr")
    await a_mapping(app, "nickname", {"kind": "constant", "value": "secret"}, scope="hr", places=["userinfo"])
    for requested in ((), ("nickname",)):
        found = await at(app, alice, Place.USERINFO, "openid profile", profile=True, requested=requested)
        assert "nickname" not in found
    assert (await at(app, alice, Place.USERINFO, "openid profile hr", profile=True))["nickname"] == "secret"


async def test_introspection_tells_what_is_gone(browser: Browser, make_client: MakeClient, alice: User) -> None:
    """A role that was taken is not in the response, although it is in the token."""
    client = await make_client(scope="openid")
    role = await a_role(alice)
    await registration.add(
        client.client_id, claim="realm_access", source={"kind": "roles", "of": "server"}, shape="object",
        places=["access_token", "introspection"],
    )  # fmt: skip
    await make_client()
    token = (await client.tokens(browser, alice.email))["access_token"]
    assert (await client.introspect(token))["realm_access"] == {"roles": [role.name]}
    await roles.take(role.id, [alice.id])
    assert "realm_access" in claims_of(token)
    assert "realm_access" not in await client.introspect(token)


async def test_a_mapping_replaces_the_standard_claim(db: str, alice: User) -> None:
    """In every place, so that a client that may know some groups does not find the others elsewhere."""
    app, other = await an_app("openid groups"), await an_app("openid groups")
    shown, hidden = await a_group(alice), await a_group(alice)
    await a_mapping(app, "groups", {"kind": "groups", "names": [shown.name]}, scope="groups", places=["id_token"])
    for place in Place:
        found = await at(app, alice, place, "openid groups", resource=(await an_api("groups"),))
        assert found == ({"groups": [shown.name]} if place is Place.ID_TOKEN else {})
    assert await at(other, alice, Place.ID_TOKEN, "openid groups") == {"groups": sorted([shown.name, hidden.name])}


async def test_the_limit_concerns_mappings_too(db: str, alice: User) -> None:
    """Userinfo is named only if it has the claim."""
    app = await an_app("openid")
    await many_groups(alice, 201)
    await a_mapping(app, "teams", {"kind": "groups"}, places=["id_token", "userinfo"])
    await a_mapping(app, "hidden_teams", {"kind": "groups"}, places=["id_token"])
    found = await at(app, alice, Place.ID_TOKEN, reaches_userinfo=True)
    assert found.keys() == {"_claim_names", "_claim_sources"}
    assert found["_claim_names"] == {"teams": "userinfo"}
    assert len((await at(app, alice, Place.USERINFO))["teams"]) == 201


async def test_exchanged_tokens_have_the_mappings_of_the_new_client(db: str, alice: User) -> None:
    app, service, api = await an_app("openid read"), await a_service("read"), await an_api("read")
    await allow(service, api, scope="read", subject_clients=[app.client_id])
    await a_mapping(app, "for_app", {"kind": "constant", "value": "x"})
    await a_mapping(service, "for_service", {"kind": "constant", "value": "y"})
    before = await sign_in(app, alice, (api,))
    assert claims_of(before.access_token)["for_app"] == "x"
    after = claims_of((await exchange(service, before.access_token, resource=api)).access_token)
    assert (after["for_service"], "for_app" in after) == ("y", False)


GOOD: dict[str, Any] = {"claim": "teams", "source": {"kind": "groups"}, "places": ["id_token"]}
BAD: dict[str, dict[str, Any]] = {
    "no claim": {"claim": ""},
    "a long claim": {"claim": "a" * 101},
    "a claim with a space": {"claim": "a b"},
    "a claim of JavaScript": {"claim": "__proto__"},
    "the address of somebody": {"claim": "email", "source": {"kind": "constant", "value": "bob@example.com"}},
    "another claim as an address": {"claim": "email", "source": {"kind": "profile", "claim": "name"}},
    "an address that is verified": {"claim": "Email_Verified", "source": {"kind": "constant", "value": "true"}},
    "no place": {"places": []},
    "a place twice": {"places": ["id_token", "id_token"]},
    "an unknown place": {"places": ["cookie"]},
    "an unknown shape": {"shape": "xml"},
    "two scopes": {"scope": "a b"},
    "an unknown source": {"source": {"kind": "weather"}},
    "an unknown field": {"source": {"kind": "groups", "suffix": "x"}},
    "two filters": {"source": {"kind": "groups", "prefix": "a", "names": ["b"]}},
    "nothing to strip": {"source": {"kind": "groups", "strip_prefix": True}},
    "an empty name": {"source": {"kind": "groups", "names": [""]}},
    "too many names": {"source": {"kind": "groups", "names": ["a"] * 101}},
    "a long prefix": {"source": {"kind": "groups", "prefix": "a" * 501}},
    "roles of the server and a client": {"source": {"kind": "roles", "of": "server", "client_id": "x"}},
    "an unknown claim of the profile": {"source": {"kind": "profile", "claim": "password_hash"}},
    "an undeclared attribute": {"source": {"kind": "attribute", "name": "no_such_attribute"}},
    "an empty constant": {"source": {"kind": "constant", "value": ""}},
    "a constant of two lines": {"source": {"kind": "constant", "value": "a\nb"}},
    "groups as an object": {"shape": "object"},
    "roles of several as an object": {"source": {"kind": "roles"}, "shape": "object"},
    "a joined constant": {"source": {"kind": "constant", "value": "x"}, "shape": "spaces"},
    "no source": {"source": None},
}


@pytest.mark.parametrize("wrong", BAD.values(), ids=BAD.keys())
async def test_what_is_refused(db: str, wrong: dict[str, Any]) -> None:
    app = await an_app("openid")
    with pytest.raises(InvalidClaimMappingError):
        await registration.add(app.client_id, **(GOOD | wrong))
    assert not await fetch("SELECT FROM claim_mapping WHERE client_id = $1", app.client_id)


@pytest.mark.parametrize("claim", sorted({*PROTECTED_CLAIMS, "Sub", "ISS", "_claim_names"}))
async def test_claims_of_the_protocol_are_refused(db: str, claim: str) -> None:
    app = await an_app("openid")
    with pytest.raises(InvalidClaimMappingError):
        await registration.add(app.client_id, **(GOOD | {"claim": claim}))


async def test_a_claim_that_was_protected_later(db: str, alice: User) -> None:
    app = await an_app("openid")
    await a_mapping(app, "teams", {"kind": "constant", "value": "forged"})
    await execute("UPDATE claim_mapping SET claim = 'Sub' WHERE client_id = $1", app.client_id)
    await registry.load()
    assert await at(app, alice, Place.USERINFO) == {}


async def test_mappings_that_contradict_each_other(db: str) -> None:
    app = await an_app("openid")
    first = await registration.add(app.client_id, **GOOD)
    for other in ({}, {"source": {"kind": "constant", "value": "x"}}, {"places": EVERYWHERE}):
        with pytest.raises(ClaimMappingConflictError):
            await registration.add(app.client_id, **(GOOD | other))
    await registration.add(app.client_id, **(GOOD | {"places": ["userinfo"]}))
    await registration.add(app.client_id, **(GOOD | {"scope": "read"}))
    await registration.remove(first.id)
    await registration.add(app.client_id, **GOOD)


async def test_there_are_limits(db: str) -> None:
    app = await an_app("openid")
    for number in range(MAX_MAPPINGS):
        await registration.add(app.client_id, **(GOOD | {"claim": f"c{number}"}))
    with pytest.raises(ClaimMappingConflictError):
        await registration.add(app.client_id, **GOOD)


async def test_who_is_unknown(db: str) -> None:
    app = await an_app("openid")
    of_nobody = {"source": {"kind": "roles", "of": "client", "client_id": "nobody"}}
    for client_id, other in (("nobody", {}), (app.client_id, of_nobody)):
        with pytest.raises(UnknownClientError):
            await registration.add(client_id, **(GOOD | other))
    with pytest.raises(InvalidClaimMappingError, match="needs a scope"):
        await registration.add(None, **GOOD)
    mapping = await registration.add(app.client_id, **GOOD)
    await registration.remove(mapping.id)
    with pytest.raises(UnknownClaimMappingError):
        await registration.remove(mapping.id)


async def test_every_change_is_recorded(db: str) -> None:
    app = await an_app("openid")
    mapping = await registration.add(app.client_id, **GOOD)
    await registration.remove(mapping.id)
    rows = await fetch(
        "SELECT event, detail FROM audit_event WHERE client_id = $1 AND event LIKE 'claim_mapping%' ORDER BY id",
        app.client_id,
    )
    assert [row["event"] for row in rows] == ["claim_mapping_added", "claim_mapping_removed"]
    assert all('"claim": "teams"' in row["detail"] for row in rows)


async def test_mappings_end_with_their_client(db: str) -> None:
    app = await an_app("openid")
    await registration.add(app.client_id, **GOOD)
    await delete_client(app.client_id)
    assert not await fetch("SELECT FROM claim_mapping WHERE client_id = $1", app.client_id)
