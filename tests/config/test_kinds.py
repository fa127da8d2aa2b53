"""The table of kinds has every resource of the admin API that is configuration."""

import re

import pytest

from idp.admin.api import ROUTES
from idp.admin.api.operation import OPERATIONS
from idp.config.kinds import KINDS
from idp.config.kinds.base import Kind

#: By resource of the admin API, the section of files.
SECTIONS = {
    "clients": "clients",
    "clients/{client_id}/access_policy": "access_policies",
    "resource_servers": "resource_servers",
    "authorization_details_types": "authorization_details_types",
    "organizations": "organizations",
    "branding": "branding",
    "clients/{client_id}/branding": "branding",
    "organizations/{organization_id}/branding": "branding",
    "organizations/{organization_id}/domains": "organizations",
    "organizations/{organization_id}/sign_in_policy": "organizations",
    "organizations/{organization_id}/roles": "roles",
    "organizations/{organization_id}/roles/{role_id}/contained": "roles",
    "roles": "roles",
    "roles/{role_id}/contained": "roles",
    "groups": "groups",
    "groups/{group_id}/roles": "groups",
    "attributes": "attributes",
    "upstreams": "upstreams",
    "claim_mappings": "claim_mappings",
    "token_exchange_policies": "token_exchange_policies",
    "id_jag_policies": "id_jag_policies",
    "workload_identities": "workload_identities",
    "trusted_issuers": "trusted_issuers",
    "token_hooks": "token_hooks",
    "webhooks": "webhooks",
    "mail_templates": "mail_templates",
    "provisioning_targets": "provisioning_targets",
}
#: Resources that files do not have, and why.
NOT_CONFIGURATION = {
    "people and what they have": (
        "users", "users/{user_id}/attributes", "admins", "sessions", "consents",
        "invitations", "groups/{group_id}/members", "roles/{role_id}/holders",
        "organizations/{organization_id}/members", "organizations/{organization_id}/invitations",
        "organizations/{organization_id}/roles/{role_id}/holders",
    ),
    "credentials that are shown once": (
        "initial_access_tokens", "scim_tokens", "organizations/{organization_id}/scim_tokens",
    ),
    "what receivers create": ("shared_signals",),
    "the state of this server": ("keys", "settings", "audit", "outbox", "deliveries"),
}  # fmt: skip


def _resources() -> set[str]:
    """The paths of collections whose records can be deleted, and of records that are set or deleted as a whole."""
    paths = {each.path.strip("/") for each in OPERATIONS if each.method in ("DELETE", "PUT")}
    return {re.sub(r"/\{\w+\}$", "", path) for path in paths} - set(PARTS)


#: Parts of records that are resources of their own here.
PARTS = {
    "clients/{client_id}/admin_role": "clients",
    "provisioning_targets/{target_id}/token": "provisioning_targets",
}


def _known() -> set[str]:
    return {*SECTIONS, *(path for paths in NOT_CONFIGURATION.values() for path in paths)}


def test_every_resource_is_a_section_or_is_left_out_with_a_reason() -> None:
    assert ROUTES
    assert _resources() - _known() == set()


def test_every_section_is_one_of_the_api() -> None:
    assert set(SECTIONS.values()) == {kind.section for kind in KINDS}


def test_resources_of_the_table_exist() -> None:
    paths = {each.path.strip("/") for each in OPERATIONS}
    assert {path for path in _known() if not any(known.startswith(path) for known in paths)} == set()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.section)
def test_a_kind_is_whole(kind: Kind) -> None:
    fields = kind.model.__struct_fields__
    assert set(kind.key) <= set(fields)
    assert kind.secret is None or kind.secret in fields
    assert type(kind).__doc__
