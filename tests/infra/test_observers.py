"""What only observes requests never fails one: metrics, logs, the flow recorder, events outside of transactions."""

import errno
import io
import logging
import secrets
from collections.abc import Callable, Iterator

import asyncpg
import httpx
import pytest
import structlog

from idp.accounts.tables import User
from idp.infra import logs, observers
from idp.infra.logs import configure_logs
from idp.infra.metrics.declared import Metric
from idp.infra.observers import observing, written
from idp.settings import load
from tests.support.browser import as_page, open_browser
from tests.support.oauth import RelyingParty
from tests.support.processes import until
from tests.support.server import Server, free_port

#: A server of which every observer fails, each time.
BROKEN = ("-c", """
import structlog
from idp import app
from idp.__main__ import main
from idp.audit import buffer as audit
from idp.infra import logs
from idp.oauth import diagnosis
from idp.oauth.authorize import explain
from idp.oauth.binding import explain as proofs
from idp.oauth.clients.authentication import explain as clients
from idp.signin import sessions
from idp.trace import buffer

def fail(*_, **__):
    raise RuntimeError("An observer fails.")

logs.strict = False
for module, name in (
    (explain, "shown"), (explain, "nearest"), (explain, "_seconds"), (sessions, "why_none"), (diagnosis, "_verifier"),
    (proofs.jose, "unverified"), (clients, "_of_assertion"), (buffer, "add"), (audit, "add"), (audit, "_fits"),
    (logs, "_as_json"),
):
    setattr(module, name, fail)
import prometheus_client
prometheus_client.Counter.inc = prometheus_client.Histogram.observe = prometheus_client.Gauge.set = fail
main()
""")  # fmt: skip


@pytest.fixture
def as_in_production(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(logs, "strict", False)
    monkeypatch.setattr(observers, "_logged", {})
    observers.take_failures()
    yield
    observers.take_failures()


async def test_a_server_of_which_all_observers_fail(
    start_server: Callable[..., Server], client: RelyingParty, alice: User
) -> None:
    """It signs in, issues tokens and refuses with the error of the specification, as ever."""
    server = start_server("--workers", "1", program=BROKEN, IDP_METRICS_ADDRESS=f"127.0.0.1:{free_port()}")
    client.issuer = server.issuer
    async with open_browser(server.issuer) as browser:
        page = as_page(await client.authorize(browser, scope="openid no-such-scope"))
        page = as_page(await browser.sign_in(page, alice.email, "not the password"))
        assert page.response.status_code < 500
        tokens = await client.tokens(browser, alice.email)
        silent = await browser.client.get(f"{server.issuer}/authorize", params=client.parameters(prompt="none"))
        again = as_page(await client.authorize(browser, prompt="login"))
        assert again.response.status_code == 200
        elsewhere = as_page(await client.authorize(browser, redirect_uri="https://elsewhere.example/"))
        assert elsewhere.response.status_code == 400
        code = await client.sign_in(browser, alice.email)
    assert silent.status_code == 303
    async with httpx.AsyncClient(base_url=server.issuer, timeout=30) as http:
        form, secret = {"grant_type": "refresh_token", "refresh_token": "a"}, client.client_secret or ""
        for given, error in ((secrets.token_urlsafe(40), "invalid_client"), (secret, "invalid_grant")):
            refused = await http.post("/token", data=form, auth=(client.client_id, given))
            assert refused.json()["error"] == error
        pushed = client.parameters()
        refused = await http.post("/par", data=pushed, auth=(client.client_id, secret), headers={"DPoP": "x"})
        assert refused.json()["error"] == "invalid_dpop_proof"
        assert (await http.get("/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"})).is_success
    refused = await client.redeem(code, code_verifier="another-verifier-that-is-long-enough-for-it")
    assert refused.json()["error"] == "invalid_grant"
    assert server.stop() == 0


def test_errors_end_there_and_are_counted(as_in_production: None, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(observers.log, "error", lambda event, **fields: told.append(fields["kind"]))
    for _ in range(3):
        with observing("one"):
            raise ValueError
    observing("two")(lambda: 1 / 0)()
    with pytest.raises(KeyboardInterrupt), observing("one"):
        raise KeyboardInterrupt
    assert told == ["one", "two"]
    assert observers.take_failures() == {"one": 3, "two": 1}
    assert observers.take_failures() == {}


def test_tests_see_every_failure() -> None:
    with pytest.raises(ZeroDivisionError), observing("one"):
        1 / 0  # noqa: B018


@pytest.mark.parametrize("metric", Metric.declared.values(), ids=lambda metric: metric.name)
def test_a_metric_that_fails(as_in_production: None, metric: Metric, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric, "_live", object())
    act = next(getattr(metric, name) for name in ("add", "observe", "set") if hasattr(metric, name))
    act(*([] if metric.kind == "counter" else [1]), *metric.labels)
    assert observers.take_failures() == {"metrics": 1}


class _FullDisk(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, text)


def test_a_log_that_cannot_be_written(as_in_production: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", _FullDisk())
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        configure_logs(load(log_format="json"))
        structlog.configure(cache_logger_on_first_use=False)
        structlog.get_logger().info("request", status=200)
    finally:
        structlog.configure(**before)
        root.handlers[:], root.level = handlers, level
    assert observers.take_failures() == {"logs": 1}


async def test_rows_that_the_database_refuses_do_not_hold_up_others(as_in_production: None) -> None:
    stored: list[int] = []

    async def write(rows: list[int]) -> None:
        if -1 in rows:
            raise asyncpg.DataError
        if -2 in rows:
            raise asyncpg.ConnectionDoesNotExistError
        stored.extend(rows)

    await written(write, [1, -1, 2], "rows")
    assert stored == [1, 2]
    assert observers.take_failures() == {"rows": 1}
    with pytest.raises(asyncpg.ConnectionDoesNotExistError):
        await written(write, [3, -2], "rows")


def test_a_scrape_tells_of_failures(start_server: Callable[..., Server]) -> None:
    code = (
        "from idp.__main__ import main; from idp.infra import logs; from idp.trace import recorder\n"
        "logs.strict = False; recorder.MAX_STEPS = None; main()"
    )
    port = free_port()
    server = start_server(program=("-c", code), IDP_METRICS_ADDRESS=f"127.0.0.1:{port}")
    assert httpx.get(f"{server.url}/authorize").status_code == 400

    def told() -> bool:
        try:
            text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        except httpx.TransportError:
            return False
        return 'idp_observer_failures_total{observer="flow_recorder"}' in text

    until(told)
    assert '"observer_failed"' in server.log
    assert server.stop() == 0
