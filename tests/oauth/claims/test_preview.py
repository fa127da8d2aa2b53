"""What a token would hold, and why a claim is not there."""

import secrets
from typing import Any
from uuid import UUID

import pytest

from idp.accounts.attributes import declaration
from idp.accounts.attributes import service as attributes_of_users
from idp.accounts.attributes.models import Audience
from idp.accounts.attributes.registry import attributes
from idp.accounts.tables import User
from idp.directory import organizations
from idp.directory.errors import UnknownOrganizationError
from idp.infra.db.engine import execute, fetch
from idp.oauth.claims import registration
from idp.oauth.claims.evaluation import Why
from idp.oauth.claims.models import Place
from idp.oauth.claims.preview import WORDS, ExplainedClaim, UnknownUserError, preview
from idp.oauth.clients.models import Client
from idp.oauth.clients.registration import UnknownClientError
from tests.conftest import MakeUser
from tests.support.claims import a_mapping
from tests.support.directory import a_group, many_groups
from tests.support.exchange import an_api, an_app, sign_in
from tests.support.tokens import claims_of


async def explained(client: Client, user: User, claim: str, place: Place, scope: str, **asked: Any) -> ExplainedClaim:
    """Return why a claim is in a place, or not."""
    found = await preview(client.client_id, user.id, scope=scope.split(), names=[claim], **asked)
    (one,) = [each for each in found.explained if (each.claim, each.place) == (claim, place)]
    return one


async def test_a_preview_is_what_tokens_hold(db: str, make_user: MakeUser) -> None:
    user = await make_user(name="Alice", email_verified=True)
    app = await an_app("openid email groups roles read", scope_claims_in_id_token=True)
    await a_group(user)
    api = await an_api("read groups")
    await a_mapping(app, "tenant", {"kind": "constant", "value": "acme"})
    found = await preview(app.client_id, user.id, resource=[api], scope=app.scope.split())
    assert not await fetch("SELECT FROM token_family WHERE user_id = $1", user.id)
    assert (found.scope, found.resource, found.notes) == (app.scope, [api], [])
    tokens = await sign_in(app, user, (api,))
    for place, token in ((Place.ID_TOKEN, tokens.id_token), (Place.ACCESS_TOKEN, tokens.access_token)):
        content = claims_of(token)
        assert found.content[place] == {name: content[name] for name in found.content[place]}
        assert {"tenant", "groups"} <= found.content[place].keys()
        there = {each.claim for each in found.explained if each.place == place and each.value is not None}
        assert there == found.content[place].keys()
    assert found.content[Place.ID_TOKEN].keys() == {"email", "email_verified", "tenant", "groups", "roles"}
    assert set(WORDS) == set(Why)


async def test_why_groups_is_empty(db: str, alice: User) -> None:
    """Each reason."""
    app = await an_app("openid groups")
    without = await an_app("openid")
    silent = await an_api("read")

    async def why(client: Client, scope: str, place: Place = Place.ID_TOKEN, **asked: Any) -> Why:
        return (await explained(client, alice, "groups", place, scope, **asked)).why

    assert await why(app, "openid groups") is Why.USER_HAS_NONE
    group = await a_group(alice)
    assert await why(app, "openid groups") is Why.INCLUDED
    assert await why(app, "openid") is Why.SCOPE_NOT_REQUESTED
    assert await why(without, "openid groups") is Why.SCOPE_NOT_ALLOWED
    in_access_token = {"place": Place.ACCESS_TOKEN, "resource": [silent]}
    assert await why(app, "openid groups", **in_access_token) is Why.RESOURCE_SERVER_DOES_NOT_ASK
    none_such = {"kind": "groups", "prefix": "no-such-"}
    mapping = await a_mapping(app, "groups", none_such, scope="groups", places=["id_token"])
    filtered = await preview(app.client_id, alice.id, scope=["openid", "groups"])
    shown = [each for each in filtered.explained if each.claim == "groups" and each.place is Place.ID_TOKEN]
    assert [(each.why, each.mapping_id) for each in shown] == [
        (Why.FILTERED_OUT, mapping.id), (Why.REPLACED, None)
    ]  # fmt: skip
    shown = [each for each in filtered.explained if each.claim == "groups" and each.place is Place.USERINFO]
    assert [each.why for each in shown] == [Why.NOT_IN_THIS_PLACE, Why.REPLACED]
    await registration.remove(mapping.id)
    await a_mapping(app, "groups", {"kind": "groups", "names": [group.name]}, scope="groups", places=["userinfo"])
    await many_groups(alice, 201)
    other = await an_app("openid groups")
    assert await why(other, "openid groups") is Why.ABOVE_LIMIT


async def test_the_organization_of_a_scope(db: str, alice: User) -> None:
    app = await an_app("openid organization")
    acme = await organizations.create(f"acme-{secrets.token_hex(4)}", "Acme")
    await organizations.add_members(acme.id, [alice.id])
    found = await preview(app.client_id, alice.id, scope=["openid", f"organization:{acme.slug}"])
    assert found.scope == "openid organization"
    assert found.content[Place.ID_TOKEN]["organization"]["slug"] == acme.slug
    assert (await explained(app, alice, "organization", Place.ID_TOKEN, "openid organization")).why is Why.USER_HAS_NONE
    with pytest.raises(UnknownOrganizationError):
        await preview(app.client_id, alice.id, scope=["organization:none-such"])


async def test_why_other_claims_are_not_there(db: str, alice: User) -> None:
    app = await an_app("openid profile email")

    async def why(claim: str, scope: str, place: Place = Place.USERINFO) -> Why:
        return (await explained(app, alice, claim, place, scope)).why

    assert await why("name", "openid profile") is Why.INCLUDED
    assert await why("nickname", "openid profile") is Why.USER_HAS_NONE
    assert await why("name", "openid") is Why.SCOPE_NOT_REQUESTED
    assert await why("address", "openid address") is Why.SCOPE_NOT_ALLOWED
    assert await why("name", "openid profile", Place.ID_TOKEN) is Why.ONLY_AT_USERINFO
    assert await why("name", "openid profile", Place.ACCESS_TOKEN) is Why.NOT_IN_THIS_PLACE
    assert await why("shoe_size", "openid profile") is Why.NO_MAPPING


async def test_notes(db: str, alice: User) -> None:
    app = await an_app("openid read")
    found = await preview(app.client_id, alice.id, scope=["read", "write"])
    assert found.content.keys() == {Place.ACCESS_TOKEN, Place.INTROSPECTION}
    assert found.notes == [
        "The client is not registered for: write.", "Without the scope openid there is no ID token, and no userinfo."
    ]  # fmt: skip
    assert (await preview(app.client_id, alice.id)).scope == "openid read"
    await execute("UPDATE users SET disabled_at = now() WHERE id = $1", alice.id)
    await execute("UPDATE client SET disabled_at = now() WHERE client_id = $1", app.client_id)
    found = await preview(app.client_id, alice.id)
    assert found.notes == ["The client is disabled.", "The user is disabled."]
    with pytest.raises(UnknownClientError):
        await preview("nobody", alice.id)
    with pytest.raises(UnknownUserError):
        await preview(app.client_id, UUID(int=1))


async def test_attributes_that_the_caller_does_not_see(db: str, alice: User) -> None:
    name, app = f"a{secrets.token_hex(6)}", await an_app("openid hr")
    nobody: dict[str, Any] = {"visible_to": [], "editable_by": []}
    await declaration.declare(name=name, type="string", label={"default": "x"}, scope="hr", **nobody)
    await attributes.load()
    await attributes_of_users.change(alice.id, {name: "secret"})
    await a_mapping(app, "renamed", {"kind": "attribute", "name": name}, places=["userinfo"])
    asked = {"scope": ["openid", "hr"]}
    for claim in (name, "renamed"):
        found = await preview(app.client_id, alice.id, **asked)
        assert found.content[Place.USERINFO][claim] == "secret"
        found = await preview(app.client_id, alice.id, **asked, audience=Audience.SUPPORT)
        assert claim not in found.content[Place.USERINFO]
        (shown,) = [each for each in found.explained if (each.claim, each.place) == (claim, Place.USERINFO)]
        assert (shown.why, shown.value, shown.hidden) == (Why.INCLUDED, None, True)
    assert "secret" not in repr(found)
    await declaration.delete(name)
    await attributes.load()
