"""Values that only a newer release knows, while replicas are replaced and after a downgrade (docs/migrations.md): what
has one is left out or admits nobody, and everything else is loaded.
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple

import msgspec
import pytest
from msgspec import inspect

from idp.accounts.attributes.models import StoredAttribute
from idp.accounts.attributes.repository import attributes
from idp.infra.db.engine import execute
from idp.oauth.access_policies.repository import NO_ROLE, policies, policy_of
from idp.oauth.claims.models import ClaimMapping
from idp.oauth.claims.repository import mappings
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.registry import Registry
from idp.oauth.exchange.models import ExchangePolicy
from idp.oauth.exchange.repository import policies as exchange_policies
from idp.oauth.issuers.models import StoredTrustedIssuer
from idp.oauth.issuers.repository import issuers
from idp.oauth.token_hook.repository import hooks
from idp.provisioning.models import Target
from idp.provisioning.repository.targets import targets
from tests.support.isolated import own_database

__all__ = ["own_database"]

pytestmark = pytest.mark.usefixtures("own_database")

NEW = "newer"
#: A part of a column that is a document: another value has the type of the one before.
_CONFIG = "UPDATE {table} SET config = jsonb_set(config::jsonb, '{{{field}}}', $1::jsonb)"


class Kind(NamedTuple):
    """A kind of records that allow something.

    Attributes:
        stored: the struct that they are read as.
        insert: stores one that is right, of the client $1.
        config: whether most of it is one document.
    """

    stored: Any
    load: Callable[[], Awaitable[list[Any]]]
    table: str
    insert: str
    config: bool = True


KINDS = (
    Kind(
        ExchangePolicy, exchange_policies, "token_exchange_policy",
        """INSERT INTO token_exchange_policy (id, client_id, mode, resources, scope, added_scope, subject_token_types,
               subject_clients, user_ids, bearer_for_bound, created_at)
           VALUES (gen_random_uuid(), $1, 'delegation', '{}', '', '', '{jwt}', '{}', '{}', false, now())""",
        config=False,
    ),
    Kind(
        ClaimMapping, mappings, "claim_mapping",
        """INSERT INTO claim_mapping (id, client_id, claim, config, created_at) VALUES (gen_random_uuid(), $1, 'x',
               '{"source": {"kind": "groups"}, "places": ["id_token"], "shape": "value"}', now())""",
    ),
    Kind(
        StoredTrustedIssuer, issuers, "trusted_issuer",
        """INSERT INTO trusted_issuer (id, issuer, config, created_at, updated_at)
           VALUES ($1, 'https://a.example', '{"purposes": ["jwt_bearer"], "subject": "identity"}', now(), now())""",
    ),
    Kind(
        StoredAttribute, attributes, "attribute",
        """INSERT INTO attribute (name, config, created_at, updated_at) VALUES (left('x' || $1, 1),
               '{"type": "string", "label": {"default": "X"}}', now(), now())""",
    ),
    Kind(
        Target, targets, "provisioning_target",
        """INSERT INTO provisioning_target (id, name, base_url, users, groups, pushed_groups, mapping, match, removal,
               mends, token, failing_reason, created_at, updated_at)
           VALUES (gen_random_uuid(), $1, 'https://a.example', 'all', '{}', '{}', '{}', 'userName', 'deactivate', false,
               'x', '', now(), now())""",
        config=False,
    ),
)  # fmt: skip


def _choices(kind: Any) -> bool:
    """Return whether a type is one of a fixed number of values, or a list of such."""
    if isinstance(kind, inspect.UnionType):
        return any(map(_choices, kind.types))
    return isinstance(kind, inspect.EnumType | inspect.LiteralType) or (
        hasattr(kind, "item_type") and _choices(kind.item_type)
    )


def _cases() -> Iterator[Any]:
    for kind in KINDS:
        for field in inspect.type_info(kind.stored).fields:
            if _choices(field.type):
                is_list = hasattr(field.type, "item_type")
                yield pytest.param(kind, field.name, is_list, id=f"{kind.table}-{field.name}")


@pytest.mark.parametrize(("kind", "field", "is_list"), list(_cases()))
async def test_one_record_does_not_keep_others_from_being_loaded(kind: Kind, field: str, is_list: bool) -> None:
    client, _ = await register_client("wiki", client_name="Wiki", redirect_uris=["https://wiki.example/"])
    await execute(kind.insert, client.client_id)
    assert len(await kind.load()) == 1
    if kind.config:
        value = msgspec.json.encode([NEW] if is_list else NEW).decode()
        await execute(_CONFIG.format(table=kind.table, field=field), value)
    else:
        await execute(f"UPDATE {kind.table} SET {field} = $1", [NEW] if is_list else NEW)
    assert await kind.load() == []
    registry = Registry()
    await registry.load()
    assert registry.client(client.client_id) is not None


@pytest.mark.parametrize(
    "conditions", ['{"acr": "9"}', '{"of_a_newer_release": ["x"]}', '{"times": [{"days": ["mon"], "weeks": "odd"}]}']
)
async def test_a_policy_with_an_unknown_condition_admits_nobody(conditions: str) -> None:
    """To ignore the condition would admit everybody whom it keeps out."""
    client, _ = await register_client("wiki", client_name="Wiki", redirect_uris=["https://wiki.example/"])
    await execute("INSERT INTO access_policy VALUES ($1, $2::jsonb, now())", client.client_id, conditions)
    policy = await policy_of(client.client_id)
    assert policy is not None
    assert policy.roles == (NO_ROLE,)
    assert [each.roles for each in await policies()] == [(NO_ROLE,)]


async def test_a_hook_with_an_unknown_place_still_decides() -> None:
    client, _ = await register_client("wiki", client_name="Wiki", redirect_uris=["https://wiki.example/"])
    await execute(
        "INSERT INTO token_hook (id, client_id, url, places, fail_open, secret)"
        " VALUES (gen_random_uuid(), $1, 'https://a.example', '{id_token,newer}', false, 'x')",
        client.client_id,
    )
    (hook,) = await hooks()
    assert hook.places == ("id_token",)
