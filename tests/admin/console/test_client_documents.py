"""Clients by document in the console."""

import secrets

from idp.infra.db.engine import execute
from idp.oauth.clients.path_ids import path_id
from idp.oauth.clients.repository import find_client
from tests.admin.console.conftest import Admin
from tests.support.documents import store_document


async def test_a_client_by_document_is_found_disabled_and_deleted(owner: Admin) -> None:
    url = f"https://{secrets.token_hex(4)}.example.com/client.json"
    await store_document(url)
    listed = await owner.get(f"/admin/clients?origin=document&q={url[8:16]}")
    path = f"/admin/clients/{path_id(url)}"
    assert path in listed.text
    shown = await owner.get(path)
    assert all(text in shown.text for text in (url, "by its metadata document", "Document read"))
    assert "Disabled" in (await owner.confirm(f"{path}/disable")).text
    stored = await find_client(url)
    assert stored is not None
    assert stored.disabled_at is not None
    changed = await owner.confirm(f"{path}/change", client_name="Another")
    assert "is what the document of the client says." in changed.text
    await owner.confirm(f"{path}/delete", typed=stored.client_name)
    assert await find_client(url) is None
    await execute("DELETE FROM client WHERE client_id = $1", url)
