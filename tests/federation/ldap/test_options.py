"""Options of a directory, filters, and names of groups."""

import subprocess
import sys
from typing import Any

import pytest
import sansldap

from idp.federation import registry
from idp.federation.errors import InvalidUpstreamError
from idp.federation.ldap import filters
from idp.federation.ldap.groups import first_value
from idp.federation.ldap.options import read
from tests.support.slapd import certificates

OPTIONS = {"url": "ldaps://dc1.example.com", "base_dn": "dc=example,dc=com"}


def test_a_server_without_a_directory_does_not_load_the_library() -> None:
    """Its import takes as long as the rest of a command."""
    check = "import idp.app, idp.cli.upstreams, idp.federation.registry, sys; sys.exit('sansldap' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, timeout=120)


def configure(options: dict[str, str], **values: Any) -> Any:
    return registry.configure(kind="ldap", options=OPTIONS | options, **values)


@pytest.mark.parametrize(
    "options",
    [
        {"url": ""},
        {"url": "https://dc1.example.com"},
        {"url": "dc1.example.com"},
        {"url": "ldaps://"},
        {"url": "ldaps://dc1.example.com/dc=example?uid?sub"},
        {"url": "ldaps://user@dc1.example.com"},
        {"url": "ldaps://dc1.example.com:x"},
        {"url": "ldaps://dc1.example.com:0"},
        {"url": "ldaps://a\0b"},
        {"url": " ".join(f"ldaps://dc{number}.example.com" for number in range(9))},
        {"url": "ldap://dc1.example.com", "start_tls": "no"},
        {"url": "ldap://127.0.0.1 ldap://10.0.0.1", "start_tls": "no"},
        {"start_tls": "maybe"},
        {"type": "novell"},
        {"base_dn": ""},
        {"base_dn": "dc=a\0"},
        {"base_dn": "x" * 1001},
        {"user_filter": "(&(objectClass=user)"},
        {"user_filter": "(" * 900},
        {"group_filter": "(x"},
        {"login_attributes": " "},
        {"login_attributes": "uid;binary"},
        {"id_attribute": "uid)(x=*"},
        {"groups": "all"},
        {"group_name": "c n"},
        {"ca": "-----BEGIN CERTIFICATE-----"},
        {"email_domains": "EXAMPLE.com"},
        {"email_domains": "@example.com"},
        {"unknown": "x"},
    ],
)
def test_invalid_options(options: dict[str, str]) -> None:
    with pytest.raises(InvalidUpstreamError):
        configure(options)


@pytest.mark.parametrize(
    "values",
    [
        {"client_id": "cn=idp"},
        {"client_secret": "x"},
        {"trust_email": True},
        {"issuer": "https://accounts.google.com"},
        {"claims": {"name": "a)(b"}},
        {"rules": ({"claim": "realm_access.roles", "attribute": "x"},)},
    ],
)
def test_invalid_values(values: dict[str, Any]) -> None:
    with pytest.raises(InvalidUpstreamError):
        configure({}, **values)


def test_servers() -> None:
    directory = read(configure({"url": "LDAPS://DC1.example.com ldap://dc2.example.com:1389 ldap://[::1]/"}))
    shown = [(one.host, one.port, one.ldaps, one.start_tls) for one in directory.servers]
    assert shown == [
        ("dc1.example.com", 636, True, False), ("dc2.example.com", 1389, False, True), ("::1", 389, False, True)
    ]  # fmt: skip
    local = read(configure({"url": "ldap://localhost", "start_tls": "no", "ca": certificates()[0]}))
    assert not local.servers[0].start_tls


def test_the_attribute_of_the_id_belongs_to_the_issuer() -> None:
    assert configure({}).issuer == "ldap:ldap:entryuuid"
    assert configure({"id_attribute": "uid"}, id="x").issuer == "ldap:x:uid"


def test_a_value_is_put_into_the_parsed_filter() -> None:
    parsed = filters.parse(r"(&(objectClass=user)(|(uid={login})(mail={login}@*)(!(cn>={login}))(x:=\2a{login})))")
    filled = filters.fill(parsed, b"*)(uid=*")
    value = r"\2a\29\28uid=\2a"
    assert str(filled) == f"(&(objectClass=user)(|(uid={value})(mail={value}@*)(!(cn>={value}))(x:=\\2a{value})))"
    assert filters.fill(sansldap.LDAPFilter.from_string("(uid=a)"), b"b") == filters.parse("(uid=a)")
    anybody = str(filters.for_anybody(filters.parse("(&(objectClass=user)(|(uid={login})(mail={login}@*)))")))
    assert anybody == "(&(objectClass=user)(|(uid=*)(mail=*)))"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cn=Staff,dc=example", "Staff"),
        (r"CN=Staff\, all,DC=example", "Staff, all"),
        (r"cn=Staff\2C all\C3\A4,dc=example", "Staff, allä"),
        ("cn=a+uid=b,dc=example", "a"),
        ("cn=Staff", "Staff"),
        (r"cn=\FF,dc=example", r"cn=\FF,dc=example"),
        ("Staff", "Staff"),
        ("", ""),
    ],
)
def test_the_first_value_of_a_name(name: str, value: str) -> None:
    assert first_value(name) == value
