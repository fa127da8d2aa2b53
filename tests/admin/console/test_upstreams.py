"""Upstreams in the console: what to register first, added disabled, tested, enabled."""

import secrets
from collections.abc import Iterator

import pytest

from idp.audit.repository.audit_events import EVENTS
from idp.federation import registry
from idp.federation.guides import GUIDES
from idp.infra.db.listing import list_page
from tests.admin.console.conftest import Admin
from tests.federation.conftest import until_offered
from tests.support.server import Server
from tests.support.stand_ins import CLIENT_ID, CLIENT_SECRET, OpenIDProvider


@pytest.fixture
def provider() -> Iterator[OpenIDProvider]:
    provider = OpenIDProvider()
    yield provider
    provider.stop()


async def test_the_page_says_what_to_register_first(owner: Admin, server: Server) -> None:
    chooser = (await owner.get("/admin/upstreams/new")).text
    for name, guide in GUIDES.items():
        assert f'href="/admin/upstreams/new/{name}">Add {guide.label}' in chooser
        page = (await owner.get(f"/admin/upstreams/new/{name}?id=our-{name}")).text
        assert all(step.where in page for step in guide.steps if "&" not in step.where)
        assert (f"{server.issuer}/upstreams/our-{name}/callback" in page) is (name != "ldap")
    assert (await owner.get("/admin/upstreams/new/facebook")).status == 404
    # An id that no upstream can have makes no URL.
    assert "/upstreams/ID/callback" in (await owner.get("/admin/upstreams/new/oidc?id=%22%3E%3Cb%3E")).text


async def test_the_form_begins_with_what_the_provider_needs(owner: Admin) -> None:
    gitlab = (await owner.get("/admin/upstreams/new/gitlab")).text
    assert 'name="issuer" type="url" value="https://gitlab.com" required' in gitlab
    other = (await owner.get("/admin/upstreams/new/oidc")).text
    assert 'name="name" type="text" value="" required' in other
    assert 'name="issuer" type="url" value="" required' in other
    assert "Claim mapping" in other
    assert "MFA acr value" in other
    apple = (await owner.get("/admin/upstreams/new/apple")).text
    assert "<h1>Add Apple</h1>" in apple


async def test_the_suggested_id_is_free(owner: Admin) -> None:
    name = f"free-{secrets.token_hex(4)}"
    assert await registry.free_id(name) == name
    values = {"name": "Acme", "issuer": "https://op.example.com", "client_id": "x", "disabled": True}
    for taken in (name, f"{name}-2"):
        assert await registry.add(registry.configure(id=taken, **values))
    assert await registry.free_id(name) == f"{name}-3"
    for taken in (name, f"{name}-2"):
        await registry.delete(taken)


async def test_an_upstream_is_disabled_until_it_is_tested_and_enabled(
    owner: Admin, server: Server, provider: OpenIDProvider
) -> None:
    name = f"u{secrets.token_hex(4)}"
    fields = {"id": name, "name": "Acme", "issuer": provider.issuer, "client_id": CLIENT_ID, "client_secret": "wrong"}
    page = await owner.confirm("/admin/upstreams/new/oidc", **fields)
    assert "It is not offered to users yet. Test it, then enable it." in page.text
    assert [one.disabled for one in await registry.load_stored() if one.id == name] == [True]
    assert "not tested" in (await owner.get(f"/admin/upstreams?id={name}")).text

    failed = await owner.confirm(f"{page.path}/test")
    assert failed.path.partition("?")[0] == page.path
    assert "The test failed." in failed.text
    assert f"It is the issuer {provider.issuer}." in failed.text
    assert "It refuses the client id or the client secret." in failed.text
    assert "failed" in (await owner.get(f"/admin/upstreams?id={name}")).text

    changed = await owner.confirm(f"{page.path}/change", client_secret=CLIENT_SECRET)
    assert "It was not tested since the last change." in changed.text
    passed = await owner.confirm(f"{page.path}/test")
    assert "The test passed." in passed.text
    assert "It accepts the client id and the client secret." in passed.text
    found = await list_page(EVENTS, {"event": "upstream_tested", "actor": f"user:{owner.user.id}"}, limit=2)
    assert [row["outcome"] for row in found.rows] == ["success", "failure"]

    assert "Users can sign in with it." in (await owner.confirm(f"{page.path}/enable")).text
    await until_offered(server.issuer, name)
    await owner.confirm(f"{page.path}/delete")
    await until_offered(server.issuer, name, offered=False)


async def test_a_provider_that_does_not_answer(owner: Admin, provider: OpenIDProvider) -> None:
    name = f"u{secrets.token_hex(4)}"
    fields = {"id": name, "name": "Acme", "issuer": provider.issuer, "client_id": "x", "client_secret": "y"}
    page = await owner.confirm("/admin/upstreams/new/oidc", **fields)
    provider.faults.add("error_500")
    shown = (await owner.confirm(f"{page.path}/test")).text
    assert "does not answer as it should. The response has status 500." in shown
    await owner.confirm(f"{page.path}/delete")
