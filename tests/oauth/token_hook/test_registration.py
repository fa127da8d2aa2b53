"""Adding and changing token hooks."""

from typing import Any

import pytest

from idp import ids
from idp.errors import ValidationError
from idp.infra.db.engine import fetch
from idp.oauth.claims.models import Place
from idp.oauth.clients.registration import UnknownClientError
from idp.oauth.clients.registry import registry
from idp.oauth.clients.service import delete_client
from idp.oauth.token_hook import registration, repository
from idp.oauth.token_hook.registration import TokenHookConflictError, UnknownTokenHookError
from tests.support.exchange import an_app

URL = "https://hook.example/x"


async def test_the_life_of_a_hook(db: str) -> None:
    app = await an_app("openid")
    hook_id, secret = await registration.add(app.client_id, URL)
    assert secret.startswith("whsec_")
    with pytest.raises(TokenHookConflictError):
        await registration.add(app.client_id, URL)
    await registration.update(hook_id, places=["introspection", "access_token"], fail_open=True)
    found = await repository.hook(hook_id)
    assert found is not None
    assert (found.places, found.fail_open, found.url) == ((Place.ACCESS_TOKEN, Place.INTROSPECTION), True, URL)
    assert await registration.rotate_secret(hook_id) != secret
    await registry.load()
    loaded = registry.token_hook(app)
    assert loaded is not None
    assert loaded.old_secret is not None
    await registration.set_enabled(hook_id, False)
    with pytest.raises(UnknownTokenHookError):
        await registration.set_enabled(hook_id, False)
    await registry.load()
    assert registry.token_hook(app) is None
    await registration.remove(hook_id)
    for act in (registration.remove, registration.rotate_secret, registration.update):
        with pytest.raises(UnknownTokenHookError):
            await act(hook_id)
    events = [row["event"] for row in await fetch("SELECT event FROM audit_event WHERE client_id = $1", app.client_id)]
    assert {event for event in events if event.startswith("token_hook")} == {
        *("token_hook_added", "token_hook_updated", "token_hook_secret_rotated", "token_hook_disabled"),
        "token_hook_removed",
    }


@pytest.mark.parametrize(
    "values",
    [{"url": "ftp://a.example"}, {"url": "https://a\0.example"}, {"url": "x" * 3000}, {"places": []},
     {"places": ["refresh_token"]}, {"url": "https://user:pw@a.example/"}],
)  # fmt: skip
async def test_wrong_values(db: str, values: dict[str, Any]) -> None:
    app = await an_app("openid")
    with pytest.raises(ValidationError):
        await registration.add(app.client_id, **({"url": URL} | values))
    hook_id, _ = await registration.add(app.client_id, URL)
    with pytest.raises(ValidationError):
        await registration.update(hook_id, **values)


async def test_an_unknown_client_and_a_deleted_one(db: str) -> None:
    with pytest.raises(UnknownClientError):
        await registration.add(str(ids.uuid7()), URL)
    app = await an_app("openid")
    hook_id, _ = await registration.add(app.client_id, URL)
    await delete_client(app.client_id)
    assert await repository.hook(hook_id) is None
