"""Brandings are set, read, versioned, restored and recorded; and what a page shows of several."""

import secrets
from uuid import uuid4

import asyncpg
import pytest

from idp.accounts.tables import User
from idp.branding import repository, service
from idp.branding.models import SERVER, Branding, Owner
from idp.branding.registry import Brands, Layer, brands, resolve
from idp.branding.service import InvalidBrandingError, NoBrandingError, UnknownOwnerError
from idp.directory import organizations
from idp.directory.branding import brand_named, brand_of
from idp.errors import VersionConflictError
from idp.infra.db.engine import execute, fetch
from idp.infra.pictures import MAX_BYTES, InvalidPictureError
from idp.oauth.clients import service as clients
from idp.oauth.clients.registration import register_client
from idp.settings import settings
from tests.branding.test_validation import PNG, url
from tests.support.directory import an_organization
from tests.support.isolated import own_database

__all__ = ["own_database"]

WHOLE = {
    "display_name": "Acme & Söhne",
    "title": "Welcome to Acme",
    "color": "#8a1c4a",
    "background_color": "#fafafa",
    "corners": "large",
    "logo_uri": "https://acme.example/logo.png",
    "help_uri": "https://acme.example/help",
    "terms_uri": "https://acme.example/terms",
    "privacy_uri": "https://acme.example/privacy",
    "ways": ["passkey", "password"],
}


@pytest.fixture
async def acme(alice: User) -> Owner:
    return Owner(organization_id=(await an_organization(alice)).id)


async def a_client() -> Owner:
    client, _ = await register_client(client_name="Shop", redirect_uris=["https://shop.example/callback"])
    return Owner(client_id=client.client_id)


async def test_it_is_set_read_and_recorded(acme: Owner) -> None:
    assert await service.current(acme) is None
    saved = await service.save(acme, WHOLE, None)
    assert saved is not None
    assert saved.branding == Branding(**WHOLE | {"ways": ("passkey", "password")})
    with pytest.raises(VersionConflictError):
        await service.save(acme, {}, None)
    again = await service.save(acme, WHOLE, saved.created_at)
    assert again == saved
    await service.remove(acme)
    assert await service.current(acme) is None
    for call in (service.remove(acme), service.remove_picture(acme, "logo"), service.restore(acme, uuid4())):
        with pytest.raises(NoBrandingError):
            await call
    query = """
        SELECT detail FROM audit_event WHERE event = 'organization_branding_set' AND detail ->> 'organization_id' = $1
    """
    assert len(await fetch(query, str(acme.organization_id))) == 2


async def test_pictures(acme: Owner) -> None:
    await service.save(acme, WHOLE)
    await service.save_picture(acme, "logo", PNG + secrets.token_bytes(8))
    sha256 = (await service.branding_of(acme)).logo
    assert sha256 is not None
    assert await repository.shown_by(sha256) == [acme]
    await service.save(acme, WHOLE | {"logo": sha256, "favicon": url(PNG + b"1")})
    # Another owner cannot name it, and learns nothing.
    other = Owner(organization_id=(await an_organization()).id)
    with pytest.raises(InvalidBrandingError, match="no picture with this SHA-256"):
        await service.save(other, {"logo": sha256})
    with pytest.raises(InvalidBrandingError, match="no picture with this SHA-256"):
        await service.save(other, {"logo": secrets.token_hex(32)})
    await service.remove_picture(acme, "logo")
    assert await repository.shown_by(sha256) == []
    for content in (b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>", PNG + bytes(MAX_BYTES)):
        with pytest.raises(InvalidPictureError):
            await service.save_picture(acme, "logo", content)
    await service.save_picture(acme, "background", PNG + bytes(MAX_BYTES))


async def test_versions_are_kept_restored_and_bounded(acme: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "KEPT", 3)
    picture = PNG + secrets.token_bytes(8)
    await service.save_picture(acme, "logo", picture)
    first, sha256 = (await service.history(acme))[0], (await service.branding_of(acme)).logo or ""
    await service.save(acme, {"title": "1"})
    await service.restore(acme, first.id)
    assert (await service.branding_of(acme)).logo == sha256
    assert await repository.shown_by(sha256) == [acme]
    for title in ("2", "3", "4"):
        await service.save(acme, {"title": title})
    found = await service.history(acme)
    assert [each.branding and each.branding.title for each in found] == ["4", "3", "2"]
    assert [each.replaced_at is None for each in found] == [True, False, False]
    # No version refers to the picture any more.
    assert await repository.pictures([sha256]) == {}
    with pytest.raises(NoBrandingError):
        await service.restore(acme, first.id)
    # That of another owner is none of this one.
    other = Owner(organization_id=(await an_organization()).id)
    with pytest.raises(NoBrandingError):
        await service.restore(other, found[1].id)


async def test_it_ends_with_its_owner(db: str) -> None:
    client, organization = await a_client(), Owner(organization_id=(await an_organization()).id)
    for owner in (client, organization):
        await service.save(owner, WHOLE)
    assert client.client_id is not None
    assert organization.organization_id is not None
    await clients.delete_client(client.client_id)
    await organizations.delete(organization.organization_id)
    for owner in (client, organization):
        assert await service.history(owner) == []
        with pytest.raises(UnknownOwnerError):
            await service.save(owner, WHOLE)


async def test_there_is_one_current_version_of_each_owner(acme: Owner) -> None:
    await service.save(acme, WHOLE)
    statement = "INSERT INTO branding_version (id, organization_id, pictures, actor) VALUES ($1, $2, '{}', '')"
    with pytest.raises(asyncpg.UniqueViolationError, match="branding_version_current"):
        await execute(statement, uuid4(), acme.organization_id)


async def test_what_is_in_memory(db: str) -> None:
    own, client = Brands(), await a_client()
    await service.save(client, {"display_name": "The shop", "help_uri": "https://shop.example/help"})
    await own.load()
    brand = own.brand(client.client_id)
    assert (brand.name, brand.owner, [link.name for link in brand.links]) == ("The shop", "client", ["The shop"])
    assert own.brand("another").owner == own.brand().owner == "server"
    assert own.brand().name == settings().product_name


async def test_an_organization_goes_before_a_client(db: str) -> None:
    client, made = await a_client(), await an_organization()
    await service.save(client, {"title": "Of the shop", "help_uri": "https://shop.example/help", "color": "#00539f"})
    await service.save(Owner(organization_id=made.id), {"color": "#8a1c4a"})
    await brands.load()
    brand = await brand_of(made.id, client.client_id)
    assert (brand.name, brand.owner, brand.color) == (made.name, "organization", "#8a1c4a")
    # The link of the client has the name of the server, which the client has not changed, and not the organization's.
    assert (brand.title, brand.links[0].owner, brand.links[0].name) == (
        "Of the shop",
        "client",
        settings().product_name,
    )
    assert await brand_named(made.slug, client.client_id) == await brand_named(str(made.id), client.client_id) == brand
    await organizations.disable(made.id)
    assert await brand_of(made.id) == await brand_named(made.slug) == brands.brand()


def test_colors_of_one_layer_are_not_shown_on_the_page_colour_of_another() -> None:
    server = Layer("server", None, Branding(display_name="idp", background_color="#dcdcdc", corners="large"))
    client = Layer("client", None, Branding(color="#737373", ways=("upstream",)))
    shown = resolve((client, server))
    assert shown.stylesheet == "/branding/styles/c-737373_r-large_.css"
    assert "p-dcdcdc_" in (resolve((server,)).stylesheet or "")
    assert (shown.ways, shown.owner) == (("upstream",), "server")


async def test_the_server_has_one_too(own_database: str) -> None:
    await service.save(SERVER, {"display_name": "Zorgbank", "favicon": url(PNG)})
    own = Brands()
    await own.load()
    assert (own.brand().name, own.brand().owner) == ("Zorgbank", "server")
    assert (own.brand().favicon_uri or "").startswith("/branding/pictures/")
    await service.remove(SERVER)
    await own.load()
    assert own.brand().name == settings().product_name
    assert len(await fetch("SELECT FROM audit_event WHERE event = 'branding_set'")) >= 2
