"""The kind of an application, in Python and in SQL."""

from itertools import combinations, product

import msgspec

from idp.infra.db.engine import fetch
from idp.oauth.clients.kinds import APPLICATION_KINDS, KIND_SQL, application_kind
from idp.oauth.clients.metadata import ClientMetadata
from idp.oauth.clients.presets import KINDS
from idp.oauth.grant_types import CIBA, DEVICE_CODE

GRANTS = ("authorization_code", "refresh_token", "client_credentials", "implicit", DEVICE_CODE, CIBA)


def test_each_preset_is_of_its_kind() -> None:
    assert KINDS.keys() == APPLICATION_KINDS.keys()
    for kind, preset in KINDS.items():
        assert application_kind(ClientMetadata(client_name="x", **preset)) == kind


async def test_the_database_says_the_same(db: str) -> None:
    """For every combination of grants, application type and authentication."""
    sets = [each for size in range(1, len(GRANTS) + 1) for each in combinations(GRANTS, size)]
    asked = [
        ClientMetadata(client_name="x", grant_types=grants, application_type=kind, token_endpoint_auth_method=method)
        for grants, kind, method in product(sets, ("web", "native"), ("none", "client_secret_basic"))
    ]
    rows = await fetch(
        f"SELECT {KIND_SQL} AS kind FROM jsonb_array_elements($1::jsonb) WITH ORDINALITY AS c (metadata, n) ORDER BY n",
        msgspec.json.encode(asked).decode(),
    )
    assert [row["kind"] for row in rows] == [application_kind(each) for each in asked]
