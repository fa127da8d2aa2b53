"""The icons of providers."""

import re

import pytest

from idp.federation.icons import icon_names
from idp.federation.providers import KINDS
from idp.infra.templates import templates_path

SHAPES = set(re.findall(r'^  "(\w+)": \'', (templates_path() / "providers.html").read_text(), re.MULTILINE))


@pytest.mark.parametrize(
    ("issuer", "icon"),
    [
        ("https://gitlab.com", "gitlab"),
        ("https://acme.okta.com/oauth2/default", "okta"),
        ("https://login.microsoftonline.com/common/v2.0", "microsoft"),
        ("https://sso.example.com/realms/main", "keycloak"),
    ],
)
def test_an_issuer_tells_the_service(issuer: str, icon: str) -> None:
    assert [name for name in icon_names("oidc", issuer, "corporate") if name in SHAPES] == [icon]


def test_a_host_that_only_looks_like_a_service() -> None:
    assert not SHAPES & {*icon_names("oidc", "https://notokta.com", "corporate")}


def test_the_operator_chooses_by_the_id() -> None:
    assert "gitea" in SHAPES & {*icon_names("oidc", "https://git.example.com", "gitea")}


def test_kinds_of_one_service_have_an_icon() -> None:
    assert set(KINDS) - {"oidc", "ldap"} <= SHAPES
