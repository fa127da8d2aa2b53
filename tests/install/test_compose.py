"""docker-compose.yml: its settings are those of the server, and its proxy serves the server with TLS."""

import os
import re
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from idp.cli.serve import check_production
from idp.settings import load
from tests.conftest import MASTER_KEY
from tests.install.conftest import ROOT
from tests.install.test_image import the
from tests.support.processes import until
from tests.support.server import Server, free_port

SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
VOLUMES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["volumes"]


def test_the_settings_are_those_of_a_server_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("IDP_")]:
        monkeypatch.delenv(name)
    for name, value in SERVICES["idp"]["environment"].items():
        monkeypatch.setenv(name, value)
    # The other service has made it in the volume.
    monkeypatch.setenv("IDP_MASTER_KEY", MASTER_KEY)
    found = load()
    check_production(found)
    assert found.issuer == "https://localhost"
    assert found.trusted_proxies
    database, smtp = (getattr(found, name).get_secret_value() for name in ("database_url", "smtp_url"))
    account = SERVICES["postgres"]["environment"]
    assert database == "postgresql://{POSTGRES_USER}:{POSTGRES_PASSWORD}@postgres/{POSTGRES_DB}".format(**account)
    assert smtp == "smtp://mailpit:1025"
    assert int(SERVICES["idp"]["stop_grace_period"].removesuffix("s")) > found.drain_timeout


def test_only_loopback_reaches_it() -> None:
    ports = {port for service in SERVICES.values() for port in service.get("ports", ())}
    assert ports == {"127.0.0.1:443:443", "127.0.0.1:8025:8025"}


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - {"postgres"}))
def test_services_have_few_rights(name: str) -> None:
    service = SERVICES[name]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "proxy" else [])


def test_the_image_gets_its_volumes() -> None:
    for name in ("idp", "master-key"):
        mounts = dict(volume.split(":") for volume in SERVICES[name]["volumes"])
        assert sorted(mounts.values()) == sorted(re.findall(r'"(/[^"]+)"', the("VOLUME")))
        assert mounts.keys() <= VOLUMES.keys()


def test_services_wait_for_each_other() -> None:
    for service in SERVICES.values():
        for name, waits in service.get("depends_on", {}).items():
            # The health check of idp is in the image.
            assert waits["condition"] != "service_healthy" or name == "idp" or "healthcheck" in SERVICES[name]


def test_the_proxy_serves_with_tls(dsn: str, tmp_path: Path) -> None:
    """Its own configuration, on another port and before another server."""
    caddy = shutil.which("caddy")
    if caddy is None:
        pytest.skip("caddy is not installed (Debian: caddy)")
    port = free_port()
    issuer = f"https://localhost:{port}"
    text = (ROOT / "deploy" / "compose" / "Caddyfile").read_text()
    server = Server(
        tmp_path,
        IDP_DATABASE_URL=dsn,
        IDP_MASTER_KEY=MASTER_KEY,
        IDP_KEYS_DIR=str(tmp_path),
        IDP_ISSUER=issuer,
        IDP_TRUSTED_PROXIES="127.0.0.0/8",
    )
    for old, new in (("https://localhost {", f"{issuer} {{"), ("idp:8000", f"127.0.0.1:{server.port}")):
        assert text.count(old) == 1
        text = text.replace(old, new)
    (configuration := tmp_path / "Caddyfile").write_text(text)
    folders = {"XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    authority = tmp_path / "caddy/pki/authorities/local/root.crt"
    with (tmp_path / "proxy.log").open("wb") as log:
        proxy = subprocess.Popen(
            [caddy, "run", "--config", configuration], env=os.environ | folders, stdout=log, stderr=log
        )
    try:
        until(lambda: proxy.poll() is not None or (authority.exists() and answers(issuer, authority)))
        assert proxy.poll() is None, (tmp_path / "proxy.log").read_text()
        assert "forwarded_address_ignored" not in server.log
    finally:
        proxy.terminate()
        proxy.wait(30)
        server.stop()


def answers(issuer: str, authority: Path) -> bool:
    """Return whether discovery is served at an issuer, under a certificate of an authority."""
    try:
        trusted = ssl.create_default_context(cafile=str(authority))
        found = httpx.get(f"{issuer}/.well-known/openid-configuration", verify=trusted)
    except (httpx.TransportError, ssl.SSLError):
        return False
    return found.is_success and found.json()["issuer"] == issuer
