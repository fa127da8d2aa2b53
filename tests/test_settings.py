"""Settings from the environment, `.env` and files. Errors are plain sentences without the value."""

import os
import pickle
import re
from ipaddress import ip_network
from pathlib import Path

import pytest

from idp import settings as module
from idp.settings import SECRETS, Settings, SettingsError, load

SECRET = "hunter2-hunter2"
SENTENCE = re.compile(r"IDP_[A-Z0-9_]+: .+\.|.+\.( Did you mean IDP_[A-Z0-9_]+\?)?")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A process without settings, in an empty folder. The other tests read no `.env`; these do."""
    for name in [name for name in os.environ if name.startswith("IDP_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "ENV_FILE", ".env")
    monkeypatch.setitem(Settings.model_config, "env_file", ".env")


def refusal() -> list[str]:
    """Return the sentences with which the settings are refused."""
    with pytest.raises(SettingsError) as refused:
        load()
    lines = str(refused.value).splitlines()
    assert all(SENTENCE.fullmatch(line) for line in lines), lines
    return lines


def test_nothing_needs_to_be_set() -> None:
    found = load()
    assert (found.issuer, found.host, found.port, found.dev) == ("http://localhost:8000", "127.0.0.1", 8000, False)


def test_every_setting_has_help() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description is not None
        assert field.description.endswith("."), name


# Sources of settings


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDP_PORT", "9000")
    monkeypatch.setenv("IDP_SINGLE_SESSION", "true")
    monkeypatch.setenv("IDP_TRUSTED_PROXIES", "10.0.0.0/8, fd00::/8,192.0.2.1")
    found = load()
    assert found.port == 9000
    assert found.single_session is True
    assert found.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"), ip_network("192.0.2.1/32"))


def test_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment takes precedence; variables without our prefix are ignored."""
    Path(".env").write_text(
        "IDP_PORT=9000\n# IDP_HOST=x\nIDP_PRODUCT_NAME='Our accounts'\nOTHER=1\nexport IDP_WORKERS=2\n"
    )
    found = load()
    assert (found.port, found.product_name, found.workers, found.host) == (9000, "Our accounts", 2, "127.0.0.1")
    monkeypatch.setenv("IDP_PORT", "9001")
    assert load().port == 9001


def test_an_empty_value_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose files and templates leave empty values behind."""
    monkeypatch.setenv("IDP_PORT", "")
    monkeypatch.setenv("IDP_DATABASE_URL", "")
    monkeypatch.setenv("IDP_NONE_SUCH", "")
    assert (load().port, load().database_url) == (8000, None)


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_a_secret_in_a_file(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Docker and Kubernetes mount secrets as files. The final line end is not part of the secret."""
    Path("secret").write_text(f"{SECRET}\n")
    monkeypatch.setenv(f"IDP_{name.upper()}_FILE", "secret")
    assert getattr(load(), name).get_secret_value() == SECRET
    monkeypatch.setenv(f"IDP_{name.upper()}", "nearer")
    assert getattr(load(), name).get_secret_value() == "nearer"


def test_a_secret_in_a_file_named_in_the_file() -> None:
    Path("secret").write_text(SECRET)
    Path(".env").write_text("IDP_DATABASE_URL_FILE=secret\n")
    found = load().database_url
    assert found is not None
    assert found.get_secret_value() == SECRET


@pytest.mark.parametrize("kind", ["missing", "folder", "binary"])
def test_a_file_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    Path("folder").mkdir()
    Path("binary").write_bytes(b"\xff\xfe")
    monkeypatch.setenv("IDP_MASTER_KEY_FILE", kind)
    (line,) = refusal()
    assert line.startswith("IDP_MASTER_KEY_FILE names a file that cannot be read: ")


# Refused settings


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("IDP_ISUER", "IDP_ISSUER"),
        ("IDP_DATABASE", "IDP_DATABASE_URL"),
        ("IDP_DB_URL", "IDP_DATABASE_URL"),
        ("IDP_MASTERKEY", "IDP_MASTER_KEY"),
        ("IDP_MASTER_KEYFILE", "IDP_MASTER_KEY_FILE"),
        ("IDP_ISSUER_FILE", "IDP_ISSUER"),
        ("IDP_LOGLEVEL", "IDP_LOG_LEVEL"),
        ("IDP_ACCESS_TOKEN_TTL", "IDP_ACCESS_TOKEN_LIFETIME"),
    ],
)
@pytest.mark.parametrize("place", ["environment", "file"])
def test_an_unknown_name(monkeypatch: pytest.MonkeyPatch, name: str, meant: str, place: str) -> None:
    """It would have been believed to be set. The nearest one is suggested."""
    if place == "environment":
        monkeypatch.setenv(name, SECRET)
    else:
        Path(".env").write_text(f"{name}={SECRET}\n")
    assert refusal() == [f"There is no setting {name}. Did you mean {meant}?"]


def test_a_name_like_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDP_QQQQQQQQ", "1")
    assert refusal() == ["There is no setting IDP_QQQQQQQQ."]


def test_every_unknown_name_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDP_PROT", "1")
    monkeypatch.setenv("IDP_HOTS", "1")
    assert [line.rpartition(" ")[2] for line in refusal()] == ["IDP_HOST?", "IDP_PORT?"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ISSUER", "id.example.com"), ("ISSUER", "ftp://id.example.com"), ("ISSUER", "https://id.example.com/"),
        ("ISSUER", "https://id.example.com/tenant/"), ("ISSUER", "https://id.example.com//tenant"),
        ("ISSUER", "https://id.example.com/a/../b"), ("ISSUER", "https://id.example.com/ä%20"),
        ("ISSUER", "https://id.example.com?x=1"),
        ("ISSUER", "https://id.example.com#x"), ("ISSUER", "https://u:p@id.example.com"), ("ISSUER", "https://"),
        ("ISSUER", "https://id.example.com:port"), ("ISSUER", "https://[::1"), ("ISSUER", "https://id.example.com?"),
        ("ISSUER", "https://id.example.com#"), ("ISSUER", "https://ID.example.com"), ("ISSUER", "https://a b.example"),
        ("ISSUER", "https://id.example.com:443"), ("ISSUER", "https://id.example.com\\evil"),
        ("ISSUER", "https://bücher.example"),
        ("LOGO_URL", "http://id.example.com/logo.png"), ("LOGO_URL", "//id.example.com/x"), ("LOGO_URL", "logo.png"),
        ("PORT", "0"), ("PORT", "65536"), ("PORT", "http"), ("WORKERS", "0"), ("WORKERS", "two"), ("DEV", "maybe"),
        ("DRAIN_TIMEOUT", "0"), ("TRUSTED_PROXIES", "everybody"), ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("LOG_LEVEL", "loud"), ("LOG_LEVEL", "INFO "), ("LOG_FORMAT", "xml"), ("DATABASE_POOL_SIZE", "1"),
        ("MIGRATE_ON_START", "2"), ("JWKS_MAX_AGE", "-1"), ("ACCESS_TOKEN_LIFETIME", "10"),
        ("ACCESS_TOKEN_LIFETIME", "86401"), ("ID_TOKEN_LIFETIME", "1h"), ("AUTHORIZATION_CODE_LIFETIME", "601"),
        ("REFRESH_TOKEN_LIFETIME", "1"), ("REFRESH_TOKEN_GRACE", "301"), ("SESSION_LIFETIME", "0"),
        ("SESSION_IDLE_LIFETIME", "-5"), ("FLOW_LIFETIME", "59"), ("ARGON2_MEMORY_COST", "7"),
        ("ARGON2_TIME_COST", "0"), ("ARGON2_PARALLELISM", "0"), ("HASHING_THREADS", "0"), ("HASHING_QUEUE", "-1"),
    ],
)  # fmt: skip
def test_an_invalid_value(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """One sentence that names the setting and the allowed values, and does not repeat a possible secret."""
    monkeypatch.setenv(f"IDP_{name}", value)
    (line,) = refusal()
    assert line.startswith(f"IDP_{name}: ")
    assert "pydantic" not in line
    if len(value) > 3:
        assert value not in line.removesuffix("such as https://id.example.com.")


def test_every_invalid_value_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDP_PORT", "x")
    monkeypatch.setenv("IDP_LOG_LEVEL", "x")
    assert {line.partition(":")[0] for line in refusal()} == {"IDP_PORT", "IDP_LOG_LEVEL"}


@pytest.mark.parametrize(
    "issuer",
    [
        "https://id.example.com", "https://id.example.com:8443", "http://localhost:8000", "http://127.0.0.1:8000",
        "http://[::1]:8000", "https://xn--bcher-kva.example",
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["", pytest.param("/auth", marks=pytest.mark.fault(29)), "/a/b-c/v1.0_X"])
def test_issuers(issuer: str, path: str) -> None:
    found = load(issuer=f"{issuer}{path}")
    assert (found.issuer, found.origin, found.path) == (f"{issuer}{path}", issuer, path)


@pytest.mark.parametrize(
    ("issuer", "loopback"),
    [
        ("http://localhost", True), ("http://idp.localhost", True), ("http://127.0.0.1", True),
        ("http://127.8.8.8:1", True), ("http://[::1]", True), ("http://localhost.example.com", False),
        ("http://notlocalhost", False), ("http://127.0.0.1.example.com", False), ("http://192.168.0.1", False),
        ("http://0.0.0.0", False), ("http://[::]", False), ("https://id.example.com", False),
    ],
)  # fmt: skip
def test_loopback_issuers(issuer: str, loopback: bool) -> None:
    """Plain http is allowed for these only."""
    assert load(issuer=issuer).loopback is loopback


# Secrets


def test_secrets_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    """However settings come to be printed."""
    assert {
        "audit_checkpoint_url",
        "database_url",
        "github_client_secret",
        "google_client_secret",
        "master_key",
        "smtp_url",
    } == SECRETS
    for name in SECRETS:
        monkeypatch.setenv(f"IDP_{name.upper()}", SECRET)
    found = load()
    for text in (repr(found), str(found), f"{found}", found.model_dump_json(), str(found.model_dump())):
        assert SECRET not in text
        assert "**********" in text
    assert SECRET.encode() in pickle.dumps(found)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().port = 1


# Variables that Kubernetes sets

_ADDRESS = "10.96.0.12"
SERVICE_LINKS = {
    "IDP_SERVICE_HOST": _ADDRESS,
    "IDP_SERVICE_PORT": "8000",
    "IDP_SERVICE_PORT_HTTP": "8000",
    "IDP_PORT": f"tcp://{_ADDRESS}:8000",
    "IDP_PORT_8000_TCP": f"tcp://{_ADDRESS}:8000",
    "IDP_PORT_8000_TCP_PROTO": "tcp",
    "IDP_PORT_8000_TCP_PORT": "8000",
    "IDP_PORT_8000_TCP_ADDR": _ADDRESS,
    "IDP_POSTGRES_SERVICE_HOST": "fd00:96::c",
    "IDP_POSTGRES_SERVICE_PORT": "5432",
    "IDP_POSTGRES_PORT": "tcp://[fd00:96::c]:5432",
    "IDP_POSTGRES_PORT_5432_TCP": "tcp://[fd00:96::c]:5432",
    "IDP_POSTGRES_PORT_5432_TCP_ADDR": "fd00:96::c",
    "IDP_DNS_PORT_53_UDP_PROTO": "udp",
}


@pytest.mark.fault(19)
def test_service_links_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Service named idp or idp-postgres puts them into every pod of the namespace."""
    monkeypatch.setattr(module, "service_links", set())
    for name, value in SERVICE_LINKS.items():
        monkeypatch.setenv(name, value)
    assert load().port == 8000
    assert module.service_links == SERVICE_LINKS.keys()


@pytest.mark.fault(19)
def test_service_links_do_not_hide_a_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IDP_PORT", f"tcp://{_ADDRESS}:8000")
    (tmp_path / ".env").write_text("IDP_PORT=9000\n")
    assert load().port == 9000


@pytest.mark.fault(19)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IDP_PORTS", "8000"),
        ("IDP_PORT", "eight"),
        ("IDP_PORT", "http://10.96.0.12:8000"),
        ("IDP_SERVICE_HOST", "id.example.com"),
        ("IDP_DATABASE_PORT", "5432"),
        ("IDP_SERVICE_POST", "8000"),
    ],
)
def test_names_similar_to_service_links_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert any(name in line for line in refusal())


# The sender of mails


@pytest.mark.fault(27)
@pytest.mark.parametrize(
    "value",
    ["no-reply@example.com", "Example <no-reply@example.com>", '"Example, Inc." <no-reply@example.com>', "Zoë <a@b.c>"],
)  # fmt: skip
def test_senders(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("IDP_MAIL_FROM", value)
    assert load().mail_from == value


@pytest.mark.fault(27)
@pytest.mark.parametrize(
    "value",
    [
        "Example", "example.com", "no-reply@", "Example, Inc. <no-reply@example.com>", "a@example.com, b@example.com",
        "Example <no-reply@example.com", "zoë@example.com", "a@example.com\nBcc: b@example.com", "Example <>",
    ],
)  # fmt: skip
def test_invalid_senders(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("IDP_MAIL_FROM", value)
    (line,) = refusal()
    assert line.startswith("IDP_MAIL_FROM: must be one address such as")
