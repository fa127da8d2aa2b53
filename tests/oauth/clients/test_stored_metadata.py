"""Client metadata as it is stored: one document, which servers of two releases can share."""

from typing import Any

import msgspec
import pytest

from idp.infra.db.engine import execute, fetchrow
from idp.oauth.clients import repository
from idp.oauth.clients.metadata import ClientMetadata, metadata_of
from idp.oauth.clients.models import Client
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.registry import Registry
from idp.oauth.clients.service import update_client

pytestmark = pytest.mark.usefixtures("db")


def _sample(kind: Any) -> Any:
    """A value of a type that is not the default of any member."""
    match msgspec.inspect.type_info(kind):
        case msgspec.inspect.UnionType(types=types):
            return _sample_of(next(each for each in types if not isinstance(each, msgspec.inspect.NoneType)))
        case other:
            return _sample_of(other)


def _sample_of(kind: msgspec.inspect.Type) -> Any:
    match kind:
        case msgspec.inspect.StrType():
            return 'a "\u00e9\\'
        case msgspec.inspect.IntType():
            return 7
        case msgspec.inspect.VarTupleType():
            return ("x", "{,}")
        case msgspec.inspect.DictType():
            return {"keys": [{"kty": "OKP", "x": "a"}]}
    raise AssertionError(kind)


EVERY = ClientMetadata(
    **{
        field.name: not field.default if isinstance(field.default, bool) else _sample(field.type)
        for field in msgspec.structs.fields(ClientMetadata)
    }
)


async def test_every_member_round_trips() -> None:
    client = Client(client_id="every-member", **msgspec.structs.asdict(EVERY))
    try:
        assert await repository.insert_client(client)
        stored = await repository.find_client(client.client_id)
        assert stored is not None
        assert metadata_of(stored) == EVERY
        assert all(getattr(EVERY, field.name) != field.default for field in msgspec.structs.fields(ClientMetadata))
    finally:
        await repository.delete_client(client.client_id)


async def test_members_of_a_newer_release_are_ignored_and_kept() -> None:
    client, _ = await register_client(client_name="Newer", redirect_uris=["https://newer.example/cb"])
    await repository.update_metadata(client.client_id, {"member_of_a_newer_release": [1]})
    assert await repository.find_client(client.client_id) is not None
    await update_client(client.client_id, client_name="Newest")
    row = await fetchrow("SELECT metadata FROM client WHERE client_id = $1", client.client_id)
    assert row is not None
    kept = msgspec.json.decode(row["metadata"])
    assert (kept["member_of_a_newer_release"], kept["client_name"]) == ([1], "Newest")


async def test_a_row_of_an_older_release_has_the_defaults() -> None:
    client, _ = await register_client(client_name="Older", redirect_uris=["https://older.example/cb"])
    await execute("UPDATE client SET metadata = metadata - 'contacts' - 'jwks' WHERE client_id = $1", client.client_id)
    registry = Registry()
    await registry.load()
    assert registry.client(client.client_id) == client
