"""The clients of the console: kinds, choices, words and what is marked."""

import re
import secrets
from typing import Any

import pytest

from idp.oauth.clients.kinds import APPLICATION_KINDS
from idp.oauth.clients.presets import KINDS
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.repository import find_client
from tests.admin.console.conftest import Admin
from tests.support.browser import Page

URIS = {"web": "https://a.example/cb", "spa": "https://a.example/cb", "native": "com.example.app:/cb"}


async def _register(kind: str, **more: Any) -> str:
    uris = {"redirect_uris": [URIS[kind]]} if kind in URIS else {}
    client, _ = await register_client(**(KINDS[kind] | {"client_name": secrets.token_hex(6)} | uris | more))
    return client.client_id


@pytest.mark.parametrize("kind", APPLICATION_KINDS)
async def test_a_kind_is_kept(owner: Admin, kind: str) -> None:
    """In the list, its filter and on the page of the client."""
    client_id = await _register(kind)
    assert f"<dd>{APPLICATION_KINDS[kind].name}</dd>" in (await owner.get(f"/admin/clients/{client_id}")).text
    for asked in APPLICATION_KINDS:
        listed = await owner.get(f"/admin/clients?q={client_id}&kind={asked}")
        assert (f"/admin/clients/{client_id}" in listed.text) == (asked == kind), asked


async def test_a_chosen_id(owner: Admin) -> None:
    client_id = f"shop-{secrets.token_hex(4)}"
    entered = {"client_name": "Shop", "redirect_uris": URIS["web"], "client_id": client_id}
    refused = await owner.confirm("/admin/clients/new/web", **entered | {"client_id": "a b"})
    assert refused.status == 400
    assert 'value="a b"' in refused.text
    made = await owner.confirm("/admin/clients/new/web", **entered)
    assert made.path == f"/admin/clients/{client_id}"
    assert 'data-copy="client-id"' in made.text
    assert 'data-copy="client-secret"' in made.text
    again = await owner.confirm("/admin/clients/new/web", **entered)
    assert (again.status, "already exists" in again.text) == (400, True)


async def test_each_bad_redirect_uri_is_told(owner: Admin) -> None:
    """With the line that it has in the form that is shown."""
    uris = "\n".join(["https://a.example/cb", "", "https://a.example/cb#x", "http://elsewhere.example/cb"])
    page = await owner.confirm("/admin/clients/new/web", client_name="Shop", redirect_uris=uris)
    assert page.status == 400
    assert "Redirect URI 2 must not have a fragment." in page.text
    assert "Redirect URI 3 must" in page.text
    assert "Redirect URI 1" not in page.text
    shown = page.text.partition('id="f-redirect_uris"')[2].partition(">")[2].partition("</textarea>")[0]
    assert shown.splitlines()[1] == "https://a.example/cb#x"


async def test_what_differs_from_the_default_is_marked(owner: Admin) -> None:
    """By section, with labels and values in words."""
    client_id = await _register("web", require_pkce=False, skip_consent=True)
    text = (await owner.get(f"/admin/clients/{client_id}")).text
    rows = dict(re.findall(r"<dt>([^<]*)</dt><dd>(.*?)</dd>", text, re.DOTALL))
    assert "changed" in rows["Require PKCE"]
    assert "changed" in rows["Skip the consent page"]
    assert "Authorization code: users sign in with a browser" in rows["Grants"]
    assert "changed" not in rows["Grants"]
    assert "changed" not in rows["Redirect URIs"]
    assert "Algorithm that signs ID tokens" in rows
    for section in ("Application", "Authentication", "Tokens", "Requests", "Advanced"):
        assert f">{section}</h2>" in text
    assert not re.search(r"<dt>[a-z]+_", text), "a column name is no label"
    for kind in ("spa", "service", "device", "native"):
        assert "badge changed" not in (await owner.get(f"/admin/clients/{await _register(kind)}")).text, kind


async def test_choices_are_boxes(owner: Admin) -> None:
    """Grants, levels and upstreams. A value that is not offered any more can be kept."""
    client_id = await _register("web", upstreams=["gone"], default_acr_values=["2"])
    path = f"/admin/clients/{client_id}/change"
    form = next(form for form in (await owner.get(path)).forms if form.action == path)
    assert form.fields["grant_types:refresh_token"] == "on"
    assert form.fields["upstreams:gone"] == "on"
    assert form.fields["default_acr_values:2"] == "on"
    assert "default_acr_values:phr" not in form.fields
    del form.fields["default_acr_values:2"]
    answer = await owner.browser.post(
        path, form.fields | {"default_acr_values:phr": "on", "redirect_uris": URIS["web"]}
    )
    assert isinstance(answer, Page)
    assert "Saved." in answer.text
    client = await find_client(client_id)
    assert client is not None
    assert (client.default_acr_values, client.upstreams) == (("phr",), ("gone",))
    assert client.grant_types == KINDS["web"]["grant_types"]


async def test_a_logo_is_a_picture_or_a_url(owner: Admin) -> None:
    client_id = await _register("web")
    path = f"/admin/clients/{client_id}/logo"
    assert "Choose a picture, or enter its URL." in (await owner.confirm(path)).text
    refused = await owner.confirm(path, logo_uri="http://a.example/logo.png")
    assert refused.status == 400
    assert "http://a.example/logo.png" in refused.text
    assert "Saved." in (await owner.confirm(path, logo_uri="https://a.example/logo.png")).text
    client = await find_client(client_id)
    assert client is not None
    assert client.logo_uri == "https://a.example/logo.png"


async def test_questions_name_the_client(owner: Admin) -> None:
    client_id = await _register("web", client_name="Orchard")
    for act in ("delete", "contain", "disable", "not_before", "rotate_secret"):
        page = await owner.get(f"/admin/clients/{client_id}/{act}")
        assert re.search(r"<h1>[^<]*Orchard\?</h1>", page.text), act
    refused = await owner.confirm(f"/admin/clients/{client_id}/delete", typed="Orchid")
    assert refused.status == 400
    assert await find_client(client_id) is not None
    assert "Deleted." in (await owner.confirm(f"/admin/clients/{client_id}/delete", typed="Orchard")).text
