"""The metrics as Prometheus reads them, from real servers with several workers."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import which
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from idp import app  # noqa: F401 -- declares every metric
from idp.infra import background, observers
from idp.infra.db.embedded import EmbeddedPostgres
from idp.infra.metrics import exporter, processes
from idp.infra.metrics.declared import Counter, Histogram, Metric
from tests.conftest import MASTER_KEY, MakeUser
from tests.support.browser import open_browser
from tests.support.oauth import RelyingParty
from tests.support.processes import alive, children, command, descendants, until
from tests.support.server import PYTHON, Server, clean_environment, free_port

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "metrics.md").read_text()
RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "idp.json"

StartServer = Callable[..., Server]


class Scrape:
    """The samples of one scrape, by name and labels."""

    def __init__(self, port: int, accept: str = "") -> None:
        answer = httpx.get(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept})
        assert answer.status_code == 200
        self.text = answer.text
        self.families = list((parse_openmetrics if "openmetrics" in accept else parse)(answer.text))
        self.samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families
            for sample in family.samples
        }

    def get(self, name: str, **labels: str) -> float | None:
        return self.samples.get((name, frozenset(labels.items())))

    def labels(self, name: str, label: str) -> set[str]:
        return {dict(labels)[label] for found, labels in self.samples if found == name}


@pytest.fixture
def measured(start_server: StartServer) -> tuple[Server, int]:
    """A server with two workers, and the port of its metrics."""
    port = free_port()
    server = start_server("--workers", "2", program=PYTHON, IDP_METRICS_ADDRESS=f"127.0.0.1:{port}")
    until(lambda: _served(port))
    return server, port


def _served(port: int) -> Scrape | None:
    try:
        return Scrape(port)
    except httpx.TransportError:
        return None


def _workers(server: Server) -> set[int]:
    return {pid for pid in children(server.process.pid) if "idp" in command(pid) and "postgres" not in command(pid)}


def _live(server: Server, number: int) -> None:
    for _ in range(number):
        # A new connection each time, which either worker may get.
        assert httpx.get(f"{server.url}/health/live").is_success


def _lives(port: int) -> float:
    found = _served(port)
    return (found and found.get("idp_http_requests_total", method="GET", route="/health/live", status="200")) or 0


def test_the_workers_count_together_and_a_crash_loses_nothing(measured: tuple[Server, int]) -> None:
    """Whichever worker is killed, also the one that serves the metrics: another one takes over, and counts on."""
    server, port = measured
    until(lambda: server.log.count('"serving"') == 2)
    before = _lives(port)
    _live(server, 40)
    until(lambda: _lives(port) == before + 40)
    for victim in sorted(_workers(server)):
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(_workers(server)) == 2 and victim not in _workers(server))  # noqa: B023
    until(lambda: _lives(port) >= before + 40)
    assert server.log.count("metrics_not_served") == 0
    assert server.stop() == 0


def test_a_process_of_its_own_answers(measured: tuple[Server, int]) -> None:
    """It knows no setting, it is started again if it dies, and it ends with the server."""
    server, port = measured

    def listener() -> int | None:
        return next((pid for pid in descendants(server.process.pid) if "listener.py" in command(pid)), None)

    first = listener()
    assert first is not None
    assert b"IDP_" not in Path(f"/proc/{first}/environ").read_bytes()
    os.kill(first, signal.SIGKILL)
    until(lambda: listener() not in (None, first) and _served(port))
    assert "metrics_not_served" in server.log
    second = listener()
    assert second is not None
    assert server.stop() == 0
    until(lambda: not alive({second}))


def test_both_formats_have_every_metric(measured: tuple[Server, int]) -> None:
    server, port = measured
    until(lambda: Scrape(port).get("idp_signing_keys", alg="RS256", state="active") == 1)
    # The database is not read before it is joined.
    assert "metrics_reading_failed" not in server.log
    assert not Scrape(port).get("idp_metrics_readings_failed_total")
    for accept in ("text/plain", "application/openmetrics-text"):
        found = {family.name for family in Scrape(port, accept).families}
        unlabelled = {name for name, metric in Metric.declared.items() if not metric.labels}
        assert unlabelled <= found, accept
        assert found <= set(Metric.declared), accept


async def test_what_happens_is_counted(client: RelyingParty, measured: tuple[Server, int], make_user: MakeUser) -> None:
    """The client is registered before the server starts, so that both of its workers know it."""
    server, port = measured
    client.issuer = server.issuer
    user = await make_user()
    async with open_browser(server.issuer) as browser:
        await client.tokens(browser, user.email)
    refused = await client.http.post(
        f"{server.issuer}/token",
        data={"grant_type": "refresh_token", "refresh_token": "a"},
        auth=(client.client_id, client.client_secret or ""),
    )
    assert refused.json()["error"] == "invalid_grant"

    def counted() -> bool:
        now = Scrape(port)
        grants = "idp_grants_total"
        wanted = (
            now.get(grants, grant_type="authorization_code", outcome="success", error="", reason=""),
            now.get(grants, grant_type="refresh_token", outcome="failure", error="invalid_grant", reason="malformed"),
            now.get("idp_refusals_total", route="/token", error="invalid_grant", reason="malformed"),
            now.get("idp_sign_in_steps_total", step="password", outcome="success", reason=""),
            now.get("idp_events_total", event="sign_in", outcome="success"),
            now.get("idp_http_request_duration_seconds_count", route="/token"),
        )
        return all(wanted) and bool(now.get("idp_password_hashing_duration_seconds_count"))

    until(counted)


def test_requests_make_no_new_labels(measured: tuple[Server, int]) -> None:
    """Paths, methods and grants that a client invents are counted together."""
    server, port = measured
    for invented in ("aaa", "bbb"):
        httpx.get(f"{server.url}/{invented}")
        httpx.request(invented.upper(), f"{server.url}/token")
        httpx.post(f"{server.url}/token", data={"grant_type": invented})
    until(lambda: Scrape(port).get("idp_http_requests_total", method="other", route="other", status="404") == 2)
    found = Scrape(port)
    assert "aaa" not in found.text.lower()
    assert "bbb" not in found.text.lower()
    assert "other" in found.labels("idp_grants_total", "grant_type")


def test_it_answers_nothing_else(measured: tuple[Server, int]) -> None:
    _, port = measured
    assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 404
    assert httpx.get(f"http://127.0.0.1:{port}/metrics/../token").status_code == 404
    assert httpx.post(f"http://127.0.0.1:{port}/metrics").status_code == 405
    head = httpx.head(f"http://127.0.0.1:{port}/metrics")
    assert (head.status_code, head.content) == (200, b"")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    database = EmbeddedPostgres.start(tmp_path / "postgres", options={"fsync": "off"})
    yield database
    database.stop()


def test_an_outage_of_the_database_is_seen(
    database: EmbeddedPostgres, start_server: StartServer, tmp_path: Path
) -> None:
    port = free_port()
    server = start_server(IDP_DATABASE_URL=database.dsn, IDP_METRICS_ADDRESS=f"127.0.0.1:{port}")
    until(lambda: (found := _served(port)) and found.get("idp_database_up") == 1)
    database.stop()
    until(lambda: Scrape(port).get("idp_database_up") == 0)
    EmbeddedPostgres.start(tmp_path / "postgres", options={"fsync": "off"})
    until(lambda: Scrape(port).get("idp_database_up") == 1)
    assert server.stop() == 0


async def test_shared_state_is_read_after_the_first_attempt_to_join(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the attempt failed: a reading tells that the database is down."""
    read, tried, served = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def reading() -> None:
        assert tried.is_set()
        read.set()

    async def serve(*_: object) -> None:
        served.set()

    monkeypatch.setattr(exporter, "_begin", lambda: None)
    monkeypatch.setattr(exporter, "_serve", serve)
    monkeypatch.setattr(processes, "locked", lambda _: os.open(os.devnull, os.O_RDONLY))
    running = asyncio.create_task(exporter.run(("127.0.0.1", 1), (), (reading,), tried))
    async with asyncio.timeout(30):
        await served.wait()
        tried.set()
        await read.wait()
    running.cancel()
    await asyncio.wait({running})


async def test_an_error_does_not_end_the_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither those of a worker nor those of the shared state."""
    again, errors = {"own": asyncio.Event(), "lead": asyncio.Event()}, dict[str, int]()

    def fails_once(name: str) -> Any:
        def fail(*_: object) -> Any:
            errors[name] = errors.get(name, 0) + 1
            if errors[name] == 1:
                raise OSError
            again[name].set()
            return {} if name == "own" else None

        return fail

    monkeypatch.setattr(exporter, "_begin", lambda: None)
    monkeypatch.setattr(exporter, "OWN_SECONDS", 0)
    monkeypatch.setattr(background, "RESTART_SECONDS", 0)
    monkeypatch.setattr(observers, "take_failures", fails_once("own"))
    monkeypatch.setattr(processes, "locked", fails_once("lead"))
    running = asyncio.create_task(exporter.run(("127.0.0.1", 1), (), (), asyncio.Event()))
    async with asyncio.timeout(30):
        await asyncio.gather(*(event.wait() for event in again.values()))
    assert not running.done()
    running.cancel()
    await asyncio.wait({running})


def test_a_used_address_prevents_the_start(start_server: StartServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        server = start_server(IDP_METRICS_ADDRESS=address, wait=False)
        assert server.process.wait(30) == 1
    assert f"Cannot listen on 127.0.0.1 port {taken}" not in server.log
    assert "IDP_METRICS_ADDRESS=127.0.0.1:" in server.log


def test_the_folder_of_the_files_is_deleted(start_server: StartServer, tmp_path: Path) -> None:
    port = free_port()
    server = start_server(IDP_METRICS_ADDRESS=f"127.0.0.1:{port}", TMPDIR=str(tmp_path))
    until(lambda: _served(port))
    assert len(list(tmp_path.glob("idp-metrics-*/counter_*.db"))) == 1
    assert server.stop() == 0
    assert list(tmp_path.glob("idp-metrics-*")) == []


def test_without_an_address_the_library_is_not_loaded() -> None:
    code = "import sys; from idp.app import create_app; create_app(); sys.exit('prometheus_client' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env=clean_environment() | {"IDP_MASTER_KEY": MASTER_KEY})


# The declarations


def test_names_follow_the_conventions() -> None:
    for name, metric in Metric.declared.items():
        assert re.fullmatch(r"idp_[a-z]+(_[a-z]+)*", name)
        assert not name.endswith(("_total", "_count", "_sum", "_bucket", "_created"))
        assert metric.help.endswith(".")
        assert isinstance(metric, Histogram) == name.endswith(("_duration_seconds", "_wait_seconds", "_lag_seconds"))


def test_the_page_lists_every_metric() -> None:
    def row(metric: Metric) -> str:
        name = f"{metric.name}_total" if isinstance(metric, Counter) else metric.name
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        return f"| `{name}` | {metric.kind} | {labels} | {metric.help} |"

    listed = re.findall(r"^\| `idp_.*$", PAGE, re.MULTILINE)
    assert sorted(listed) == sorted(row(metric) for metric in Metric.declared.values())


# The files for Prometheus and Grafana

_NAME = re.compile(r"\bidp_[a-z_]+")


@pytest.mark.parametrize("path", [RULES, DASHBOARD], ids=["rules", "dashboard"])
def test_the_files_name_metrics_that_exist(path: Path) -> None:
    exposed: set[str] = set()
    for name, metric in Metric.declared.items():
        # Texts name a histogram without a suffix.
        suffixes = {Counter: ["_total"], Histogram: ["", "_bucket", "_sum", "_count"]}.get(type(metric), [""])
        exposed |= {name + suffix for suffix in suffixes}
    named = set(_NAME.findall(path.read_text()))
    assert len(named) > 10
    assert named <= exposed


def _promtool(*arguments: str, stdin: str = "") -> str:
    program = which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    done = subprocess.run([program, *arguments], input=stdin, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_promtool_accepts_the_metrics(measured: tuple[Server, int]) -> None:
    """It also warns of names that do not follow the conventions."""
    server, port = measured
    _live(server, 3)
    until(lambda: _lives(port) >= 3)
    assert _promtool("check", "metrics", stdin=Scrape(port).text) == ""


def test_promtool_accepts_the_rules() -> None:
    assert "SUCCESS" in _promtool("check", "rules", str(RULES))


#: Of each alert, a series that fires it and one that does not.
ALERTS = {
    "IdpDown": ('up{job="idp"}', 0, 1),
    "IdpDatabaseDown": ("idp_database_up", 0, 1),
    "IdpNoActiveKey": ('idp_signing_keys{alg="RS256",state="active"}', 0, 1),
    "IdpRecordsStale": ("idp_cache_age_seconds", 300, 2),
    "IdpMailNotSent": ("idp_mails_overdue_seconds", 1200, 5),
    "IdpDeliveriesNotSent": ("idp_deliveries_overdue_seconds", 1200, 5),
    "IdpReceiverFails": ("idp_deliveries_failing_receivers", 1, 0),
    "IdpBulkJobStuck": ("idp_bulk_job_waiting_seconds", 1200, 5),
    "IdpAuditNotSealed": ("idp_audit_unsealed_seconds", 1200, 90),
    "IdpClockSkew": ("idp_clock_skew_seconds", -10, 1),
}
#: The same of alerts on counters: the growth in a minute.
GROWING = {
    "IdpPasswordHashingOverloaded": ("idp_password_hashing_refused_total", 5, 0),
    "IdpRefreshTokensReused": ('idp_grants_total{grant_type="refresh_token",reason="reused"}', 2, 0),
    "IdpTokenHookFails": ('idp_token_hook_calls_total{outcome="timed_out"}', 5, 0),
    "IdpObserverFails": ('idp_observer_failures_total{observer="logs"}', 1, 0),
    "IdpErrors": ('idp_http_requests_total{status="500"}', 5, 0),
}


def test_the_alerts_fire_when_they_should(tmp_path: Path) -> None:
    """The rules in Prometheus' own engine, on series that are good and bad."""
    cases = [(alert, series, f"{bad}+0x90", f"{good}+0x90") for alert, (series, bad, good) in ALERTS.items()]
    cases += [(alert, series, f"0+{bad}x90", f"0+{good}x90") for alert, (series, bad, good) in GROWING.items()]
    tests = []
    for alert, series, bad, good in cases:
        for values, fires in ((bad, True), (good, False)):
            tests.append(_rule_test(alert, [(series, values)], fires))
    slow = 'idp_http_request_duration_seconds_bucket{{route="/token",le="{}"}}'
    for quick, fires in ((0, True), (100, False)):
        series = [
            (slow.format("1.0"), f"0+{quick}x90"),
            (slow.format("2.5"), "0+100x90"),
            (slow.format("+Inf"), "0+100x90"),
        ]
        tests.append(_rule_test("IdpSlow", series, fires))
    told = {alert for alert, *_ in cases} | {"IdpSlow"}
    assert told == set(re.findall(r"alert: (\w+)", RULES.read_text()))
    path = tmp_path / "tests.yml"
    path.write_text(f"rule_files: ['{RULES}']\nevaluation_interval: 1m\ntests:\n" + "".join(tests))
    assert "SUCCESS" in _promtool("test", "rules", str(path))


def _rule_test(alert: str, series: list[tuple[str, str]], fires: bool) -> str:
    lines = "".join(f"\n      - series: '{name}'\n        values: '{values}'" for name, values in series)
    # `count` tells whether the alert fires, without its labels and texts.
    expected = "[{ labels: '{}', value: 1 }]" if fires else "[]"
    return (
        f"  - interval: 1m\n    input_series:{lines}\n    promql_expr_test:\n"
        f'      - expr: count(ALERTS{{alertname="{alert}",alertstate="firing"}})\n'
        f"        eval_time: 80m\n        exp_samples: {expected}\n"
    )
