"""The proxies of deploy/proxies, each run with its example."""

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.support.server import START_WITHIN_SECONDS, free_port

EXAMPLES = Path(__file__).parents[2] / "deploy" / "proxies"
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
#: The address that may use /admin where an example limits it.
ADMIN_ADDRESS = "127.0.0.5"

Changes = tuple[tuple[str, str], ...]


class Setup(NamedTuple):
    """What an example is changed to.

    Attributes:
        servers: the ports of the servers of idp.
        hosts: in place of the issuer, the host for certificates, and the host that the issuer shares.
        folder: has fullchain.pem, key.pem, combined.pem and clients-ca.pem. The proxy writes its files here.
        port: where the proxy listens with TLS.
        hurry: end slow heads of requests after two seconds.
    """

    servers: tuple[int, int]
    hosts: tuple[str, str, str]
    folder: Path
    port: int
    hurry: bool = False


class Example(NamedTuple):
    """How one proxy is run.

    Attributes:
        program: its name.
        files: of deploy/proxies.
        form: IDP_CLIENT_CERTIFICATE_HEADER.
        verified: IDP_CLIENT_CERTIFICATES_VERIFIED.
        listens: where it listens, as ``(text, replacement)``. It serves requests without TLS at the port ``{plain}``.
        admin: what lets only ADMIN_ADDRESS use /admin.
        slow: the time-out of heads of requests, which is ten seconds.
        start: writes what else it needs, and returns the arguments.
        limits_connections: whether it limits the connections of an address.
        reads_readiness: whether it reads /health/ready.
        too_large: its answers to a body that is too large.
    """

    program: str
    files: tuple[str, ...]
    form: str
    verified: bool
    listens: Changes
    admin: Changes
    slow: str
    start: Callable[[Path], list[str]]
    limits_connections: bool = True
    reads_readiness: bool = True
    too_large: tuple[int, ...] = (413,)

    @property
    def path(self) -> str | None:
        return shutil.which(self.program, path=_PATH)

    def write(self, setup: Setup, plain: int) -> None:
        """Write the files, changed for a setup. What is to be changed must be in one of them."""
        texts = {name: (EXAMPLES / name).read_text() for name in self.files}
        one, two = setup.servers
        servers: Changes = (("10.0.0.11:8000", "127.0.0.1:{one}"), ("10.0.0.12:8000", "127.0.0.1:{two}"))
        if self.program == "envoy":
            servers = (
                ("10.0.0.11, port_value: 8000", "127.0.0.1, port_value: {one}"),
                ("10.0.0.12, port_value: 8000", "127.0.0.1, port_value: {two}"),
            )
        own, certificates, shared = setup.hosts
        hosts: Changes = (
            ("mtls.id.example.com", certificates),
            ("id.example.com", own),
            ("www.example.com", shared),
            ("/etc/ssl/idp", "{folder}"),
        )
        slow: Changes = ((self.slow, self.slow.replace("10", "2")),) if setup.hurry else ()
        for old, new in (*servers, *hosts, *self.listens, *self.admin, *slow):
            assert any(old in text for text in texts.values()), f"{old} is not in {', '.join(self.files)}."
            for key, value in {
                "one": one, "two": two, "folder": setup.folder, "port": setup.port, "plain": plain
            }.items():  # fmt: skip
                new = new.replace(f"{{{key}}}", str(value))
            texts = {name: text.replace(old, new) for name, text in texts.items()}
        for name, text in texts.items():
            (setup.folder / name).write_text(text)


class Running(NamedTuple):
    """A running proxy.

    Attributes:
        port, plain: where it listens, with TLS and without.
    """

    port: int
    plain: int


@contextmanager
def deployed(example: Example, setup: Setup) -> Iterator[Running]:
    """Run a proxy."""
    assert example.path is not None
    plain, folder = free_port(), setup.folder
    example.write(setup, plain)
    log = folder / "proxy.log"
    environment = os.environ | {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [example.path, *example.start(folder)],
            cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + START_WITHIN_SECONDS
        tls = ssl.create_default_context(cafile=folder / "clients-ca.pem")
        while not (_serves(plain, None, "") and _serves(setup.port, tls, setup.hosts[0])):
            ends = process.poll() is not None or time.monotonic() > deadline
            assert not ends, log.read_text(errors="replace")[-4000:]
            time.sleep(0.02)
        yield Running(setup.port, plain)
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            # It waits for idle connections.
            process.kill()
            process.wait()


def _serves(port: int, tls: ssl.SSLContext | None, host: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            if tls is not None:
                tls.wrap_socket(connection, server_hostname=host).close()
    except OSError:
        return False
    return True


def _nginx(folder: Path) -> list[str]:
    paths = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n" if os.getuid() == 0 else ""
    (folder / "main.conf").write_text(
        f"{user}daemon off;\nworker_processes 1;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{paths}include {folder}/nginx.conf;\n}}\n"
    )
    return ["-p", str(folder), "-c", str(folder / "main.conf")]


def _haproxy(folder: Path) -> list[str]:
    comment = [
        line.strip("# ") for line in (folder / "haproxy.cfg").read_text().splitlines() if "combined.pem " in line
    ]
    (folder / "idp-certificates.txt").write_text("\n".join(line for line in comment if line.startswith("/")) + "\n")
    return ["-db", "-f", str(folder / "haproxy.cfg")]


def _caddy(folder: Path) -> list[str]:
    assert CADDY.path is not None
    version = subprocess.run([CADDY.path, "version"], capture_output=True, text=True, check=True).stdout
    if version.strip("v\n").startswith("2.6.2"):
        # Debian's. The option got its name in the next release.
        path = folder / "Caddyfile"
        path.write_text(path.read_text().replace("request_buffers 128KiB", "buffer_requests\nmax_buffer_size 128KiB"))
    return ["run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


def _apache(folder: Path) -> list[str]:
    (folder / "conf").mkdir(exist_ok=True)
    text = (folder / "apache.conf").read_text()
    enabled = text.partition("a2enmod ")[2].partition(" &&")[0].split()
    modules = [*enabled, "mpm_event", "authz_core", "authz_host", "alias", "slotmem_shm", "socache_shmcb"]
    lines = [f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in modules]
    account = "User www-data\nGroup www-data\n" if os.getuid() == 0 else ""
    (folder / "main.conf").write_text(
        "\n".join(lines) + f"\nServerRoot {folder}\nPidFile {folder}/pid\nDefaultRuntimeDir {folder}\n"
        f"ErrorLog /dev/stderr\nServerName localhost\n{account}Include {folder}/apache.conf\n"
    )
    return ["-D", "FOREGROUND", "-f", str(folder / "main.conf")]


def _envoy(folder: Path) -> list[str]:
    return ["-c", str(folder / "envoy.yaml"), "--log-level", "warning", "--use-dynamic-base-id", "--concurrency", "1"]


def _traefik(folder: Path) -> list[str]:
    return [f"--configfile={folder}/traefik.yaml"]


NGINX = Example(
    program="nginx",
    files=("nginx.conf",),
    form="nginx",
    verified=False,
    listens=(("listen 443", "listen 127.0.0.1:{port}"), ("listen 80", "listen 127.0.0.1:{plain}")),
    admin=(("# allow 10.0.0.0/8", f"allow {ADMIN_ADDRESS}"),),
    slow="client_header_timeout 10s",
    start=_nginx,
    reads_readiness=False,
)
HAPROXY = Example(
    program="haproxy",
    files=("haproxy.cfg",),
    form="rfc9440",
    verified=True,
    listens=(
        ("bind :443", "bind 127.0.0.1:{port}"),
        ("bind :80", "bind 127.0.0.1:{plain}"),
        ("/etc/haproxy/idp-certificates.txt", "{folder}/idp-certificates.txt"),
    ),
    admin=(
        ("# http-request deny deny_status 403 if admin", "http-request deny deny_status 403 if admin"),
        ("10.0.0.0/8", ADMIN_ADDRESS),
    ),
    slow="timeout http-request 10s",
    start=_haproxy,
)
CADDY = Example(
    program="caddy",
    files=("Caddyfile",),
    form="rfc9440",
    verified=True,
    listens=(
        (
            "{\n\tservers {",
            "{\n\tadmin off\n\tdefault_bind 127.0.0.1\n\thttps_port {port}\n\thttp_port {plain}\n\tservers {",
        ),
        ("# tls ", "tls "),
    ),
    admin=(
        ("# @outside ", "@outside "),
        ("# respond @outside", "respond @outside"),
        ("10.0.0.0/8", f"{ADMIN_ADDRESS}/32"),
    ),
    slow="read_header 10s",
    start=_caddy,
    limits_connections=False,
    too_large=(413, 502),  # 502 by Caddy 2.6.2
)
APACHE = Example(
    program="apache2",
    files=("apache.conf",),
    form="nginx",
    verified=False,
    listens=(
        ("Listen 443", "Listen 127.0.0.1:{port}"),
        ("Listen 80", "Listen 127.0.0.1:{plain}"),
        ("*:443", "*:{port}"),
        ("*:80", "*:{plain}"),
    ),
    admin=(("# Require ip 10.0.0.0/8", f"Require ip {ADMIN_ADDRESS}"),),
    slow="handshake=10 header=10",
    start=_apache,
    limits_connections=False,
    reads_readiness=False,
)
ENVOY = Example(
    program="envoy",
    files=("envoy.yaml",),
    form="envoy",
    verified=True,
    listens=(
        ("0.0.0.0, port_value: 443", "127.0.0.1, port_value: {port}"),
        ("0.0.0.0, port_value: 80", "127.0.0.1, port_value: {plain}"),
    ),
    admin=(
        ("# envoy.filters.http.rbac", "envoy.filters.http.rbac"),
        ("10.0.0.0, prefix_len: 8", f"{ADMIN_ADDRESS}, prefix_len: 32"),
    ),
    slow="request_headers_timeout: 10s",
    start=_envoy,
    limits_connections=False,
)
TRAEFIK = Example(
    program="traefik",
    files=("traefik.yaml", "traefik-idp.yaml"),
    form="traefik",
    verified=True,
    listens=(
        ('":443"', '"127.0.0.1:{port}"'),
        ('":80"', '"127.0.0.1:{plain}"'),
        ("/etc/traefik/", "{folder}/"),
    ),
    admin=(
        (
            "[connections, strangers, no-certificate, imports, ",
            "[connections, admin-networks, strangers, no-certificate, imports, ",
        ),
        ("10.0.0.0/8", ADMIN_ADDRESS),
    ),
    slow="readTimeout: 10s",
    start=_traefik,
)
#: Those that CI has. The others run where they are installed.
EVERYWHERE, SOMEWHERE = (NGINX, HAPROXY, CADDY, APACHE), (ENVOY, TRAEFIK)
EXAMPLES_RUN = [*EVERYWHERE, *(example for example in SOMEWHERE if example.path)]
