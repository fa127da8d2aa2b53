"""Traces as a collector gets them from real servers: what they have and never have, and what happens without one."""

import asyncio
import base64
import json
import logging
import re
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus

import httpx
import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracer

from idp.accounts.users import create_user
from idp.events import webhooks
from idp.federation import registry as upstreams
from idp.federation.models import Upstream
from idp.infra import logs, observers
from idp.infra.db.coalescing import CoalescedQuery
from idp.infra.tracing import spans, worker
from idp.infra.tracing.tracer import Tracer
from idp.keys import lifecycle
from idp.oauth.clients.registration import register_client
from idp.piccolo_app import APP_CONFIG
from idp.settings import SettingsError
from tests.conftest import MASTER_KEY
from tests.federation.conftest import sign_in, until_offered
from tests.support.browser import Browser, Page, Redirect, as_page, open_browser
from tests.support.collector import Collector, Exported
from tests.support.isolated import isolated
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD, REDIRECT_URI, RelyingParty
from tests.support.postgres import Cluster
from tests.support.processes import until
from tests.support.receivers import Receivers
from tests.support.server import CHEAP_HASHING, TLS, Server, clean_environment, free_port
from tests.support.stand_ins import CLIENT_ID, CLIENT_SECRET, OpenIDProvider

StartServer = Callable[..., Server]

#: The credentials of the collector.
COLLECTOR_SECRET = "collector-" + secrets.token_hex(16)
SENDER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{'-'.join(SENDER)}-01"


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.stop()


class Story(NamedTuple):
    """What happened at a server with two workers, and what its collector, its log and other systems got.

    Attributes:
        secrets: everything that must not leave, by what it is.
    """

    collector: Collector
    server: Server
    provider: OpenIDProvider
    receivers: Receivers
    client: RelyingParty
    secrets: dict[str, str]

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.server.log.splitlines() if line.startswith("{")]

    def of(self, name: str, **attributes: Any) -> Exported:
        """Return the first span with a name and these attributes (``grant_type`` stands for ``idp.grant_type``)."""
        wanted = {f"idp.{key}": value for key, value in attributes.items()}
        return next(span for span in self.collector.named(name) if wanted.items() <= span.attributes.items())


@pytest.fixture(scope="module")
async def story(
    db: str, cluster: Cluster, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Story]:
    """Sign-ins with a password, a code by mail and an upstream; tokens, a refresh, refusals; a webhook.

    The database of the other tests has other servers, which would send mails and webhooks.
    """
    collector, provider, mailbox = Collector(), OpenIDProvider(), Mailbox()
    async with (
        isolated(await cluster.create_database(template)) as dsn,
        Receivers() as receivers,
        httpx.AsyncClient(timeout=30, verify=TLS) as http,
    ):
        await lifecycle.ensure_signing_key("RS256")
        user = await create_user(f"{secrets.token_hex(6)}@example.com", PASSWORD, name="Ada Lovelace")
        registered, secret = await register_client(
            client_name="Traced", redirect_uris=[REDIRECT_URI], grant_types=["authorization_code", "refresh_token"],
            scope="openid email offline_access", skip_consent=True,
        )  # fmt: skip
        values = {"id": "up", "name": "Upstream", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        upstream = upstreams.configure(issuer=provider.issuer, trust_email=True, **values)
        assert await upstreams.add(upstream)
        _, webhook_secret = await webhooks.add(receivers.url("hook-with-a-secret-path"), ["sign_in"])
        server = Server(
            tmp_path_factory.mktemp("traced"),
            "--workers",
            "2",
            IDP_DATABASE_URL=dsn,
            IDP_MASTER_KEY=MASTER_KEY,
            IDP_SMTP_URL=mailbox.url,
            IDP_ADDRESS_LIMITS="false",
            IDP_LOG_LEVEL="debug",
            OTEL_EXPORTER_OTLP_HEADERS=f"authorization=Bearer {COLLECTOR_SECRET}",
            OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test",
            **collector.settings,
        )
        client = RelyingParty(server.issuer, http, registered.client_id, secret, scope="openid email offline_access")
        hidden = {"client secret": secret or "", "webhook secret": webhook_secret, "user": str(user.id)}
        try:
            await _happen(server, client, user.email, mailbox, upstream, hidden)
            for path in ("/nothing", "/admin/api/v1/none"):
                await http.get(f"{server.issuer}{path}?access_token=in-the-query", headers={"Traceparent": TRACEPARENT})
            await _until_both_workers(server, collector)
            async with asyncio.timeout(30):
                while not (receivers.accepted["hook-with-a-secret-path"] and collector.named("deliver webhook")):
                    await asyncio.sleep(0.05)
            assert server.stop() == 0
        finally:
            server.kill()
        hidden |= {"upstream subject": provider.person.sub, "upstream email": provider.person.email or ""}
        hidden |= {f"upstream {name}": value for _, given in provider.requests for name, value in given.items()}
        yield Story(collector, server, provider, receivers, client, hidden)
    mailbox.stop()
    provider.stop()
    collector.stop()


async def _happen(
    server: Server, client: RelyingParty, email: str, mailbox: Mailbox, upstream: Upstream, hidden: dict[str, str]
) -> None:
    hidden |= {"email": email, "verifier": client.verifier, "password": PASSWORD, "a wrong one": "wrong-password-7"}
    async with open_browser(server.issuer) as browser:
        page = as_page(await client.authorize(browser, state="state-of-client", nonce="nonce-of-client"))
        page = as_page(await browser.sign_in(page, email, "wrong-password-7"))
        answer = await browser.sign_in(page, email, PASSWORD)
        assert isinstance(answer, Redirect), answer.text
        code = hidden["code"] = answer.parameters["code"]
        _keep_cookies(browser, hidden)
    tokens = (await client.redeem(code)).json()
    hidden |= {name: tokens[name] for name in ("access_token", "id_token", "refresh_token")}
    refreshed = (await client.refresh(tokens["refresh_token"])).json()
    hidden |= {"second refresh token": refreshed["refresh_token"]}
    assert (await client.userinfo(tokens["access_token"])).is_success
    assert (await client.redeem(code)).json()["error"] == "invalid_grant"
    assert (await client.post("/token", grant_type="password", password=PASSWORD)).status_code == 400
    async with open_browser(server.issuer) as browser:
        page = as_page(await browser.ask_for_code(as_page(await browser.get("/login")), email))
        hidden["mailed code"] = (await mailbox.next(email)).code
        _keep_cookies(browser, hidden)
    await until_offered(server.issuer, "up")
    async with open_browser(server.issuer) as browser:
        assert isinstance(await sign_in(browser, upstream), Page)
        assert browser.signed_in
        _keep_cookies(browser, hidden)


def _keep_cookies(browser: Browser, hidden: dict[str, str]) -> None:
    hidden |= {f"cookie {name} {len(hidden)}": value for name, value in browser.cookies.items()}


async def _until_both_workers(server: Server, collector: Collector) -> None:
    async with asyncio.timeout(30):
        while len({span.resource["process.pid"] for span in collector.spans}) < 2:
            # A new connection each time, which either worker may get.
            async with httpx.AsyncClient(verify=TLS) as http:
                await http.get(f"{server.issuer}/authorize")


def test_every_span_has_its_parent(story: Story) -> None:
    """No span is lost, also not those of the last requests before the stop."""
    by_id = {span.span_id: span for span in story.collector.spans}
    assert len(by_id) == len(story.collector.spans)
    for span in story.collector.spans:
        assert not span.parent or by_id[span.parent].trace_id == span.trace_id, span
        assert not span.parent or span.kind != "SERVER", span


def test_the_resource_is_the_service(story: Story) -> None:
    for span in story.collector.spans:
        named = (span.resource["service.name"], span.resource["deployment.environment.name"])
        assert named == ("idp", "test")
    assert {headers["authorization"] for headers in story.collector.headers} == {f"Bearer {COLLECTOR_SECRET}"}


def test_a_token_request(story: Story) -> None:
    span = story.of("POST /token", grant_type="refresh_token")
    assert span.kind == "SERVER"
    assert span.attributes.items() >= {
        "http.request.method": "POST", "http.route": "/token", "http.response.status_code": 200, "url.scheme": "http",
        "server.address": "localhost", "server.port": story.server.port, "idp.outcome": "success",
        "idp.client_id": story.client.client_id,
    }.items()  # fmt: skip
    statements = [each for each in story.collector.below(span) if each.attributes.get("db.system.name")]
    assert any(each.name.startswith("UPDATE refresh_token") and each.kind == "CLIENT" for each in statements)


def test_a_refusal_has_its_reason(story: Story) -> None:
    span = story.of("POST /token", outcome="refused", error="invalid_grant")
    assert (span.attributes["idp.reason"], span.attributes["http.response.status_code"]) == ("reused", 400)
    assert not span.failed
    assert story.of("POST /token", grant_type="other", error="unsupported_grant_type")


def test_the_names_of_statements(story: Story) -> None:
    """Operations and tables, with no value and no column."""
    words = {table._meta.tablename for table in APP_CONFIG.table_classes} | {"SELECT", "INSERT", "UPDATE", "DELETE"}
    words |= {"BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE"}
    statements = [span for span in story.collector.spans if "db.query.summary" in span.attributes]
    assert {word for span in statements for word in span.name.split()} <= words
    assert {tuple(sorted(span.attributes)) for span in statements} == {
        ("db.operation.name", "db.query.summary", "db.system.name")
    }


def test_a_password_is_hashed(story: Story) -> None:
    (checked, *_) = story.collector.named("hash a password")
    assert checked.events == ["a thread is free"]
    assert checked.attributes == {}


def test_an_upstream_continues_the_trace(story: Story) -> None:
    """The calls at the end of a sign-in are parts of the request of the callback."""
    callback = story.of("GET /upstreams/{upstream_id}/callback")
    calls = {span.span_id: span for span in story.collector.below(callback) if "http.request.method" in span.attributes}
    sent = dict(zip([path for path, _ in story.provider.requests], story.provider.headers, strict=True))
    trace_id, span_id = _sender(sent["/token"])
    assert trace_id == callback.trace_id
    assert calls[span_id].attributes["http.request.method"] == "POST"
    for call in calls.values():
        assert call.attributes.keys() == {
            "http.request.method", "http.response.status_code", "server.address", "server.port", "url.scheme"
        }  # fmt: skip


def _sender(headers: Mapping[str, str]) -> tuple[str, str]:
    """Return the trace and the span of which a request is a part. Its trace is recorded."""
    found = re.fullmatch(r"00-([0-9a-f]{32})-([0-9a-f]{16})-0[13]", headers["traceparent"])
    assert found
    return found[1], found[2]


def test_work_in_the_background_is_a_trace(story: Story) -> None:
    delivery = story.collector.named("deliver webhook")[0]
    assert (delivery.parent, delivery.attributes["idp.attempt"]) == ("", 1)
    (call,) = [span for span in story.collector.children(delivery) if "http.request.method" in span.attributes]
    assert (call.trace_id, call.span_id) in {_sender(received.headers) for received in story.receivers.received}
    mail = next(span for span in story.collector.spans if span.name.startswith("send mail "))
    assert [span.name for span in story.collector.children(mail)] == ["SMTP"]


def test_a_stranger_begins_a_trace_with_a_link(story: Story) -> None:
    (span, *_) = [span for span in story.collector.named("GET") if span.kind == "SERVER"]
    assert (span.parent, span.links) == ("", [SENDER])
    assert span.trace_id != SENDER[0]
    assert "http.route" not in span.attributes


def test_the_page_names_every_attribute(story: Story) -> None:
    page = (Path(__file__).parents[2] / "docs" / "tracing.md").read_text()
    named = {name for span in story.collector.spans for name in span.attributes}
    assert {name for name in named if f"`{name}`" not in page} == {"db.response.status_code"} & named


def test_no_secret_is_exported(story: Story) -> None:
    exported = b"".join(story.collector.bodies)
    named = (story.client.client_secret or "").encode()
    basic = base64.b64encode(f"{story.client.client_id}:".encode() + named).decode()
    kept = {"basic": basic, "state": "state-of-client", "nonce": "nonce-of-client", "query": "in-the-query"}
    kept |= {"path of a receiver": "hook-with-a-secret-path", "name": "Lovelace", "collector": COLLECTOR_SECRET}
    kept |= story.secrets | {"master key": MASTER_KEY, "peer": "127.0.0.1:"}
    # What a form says of itself, and the address of the callback, are no secrets.
    public = {"upstream grant_type", "upstream redirect_uri", "upstream client_id", "upstream response_type"}
    public |= {"upstream scope", "upstream code_challenge_method", "upstream prompt"}
    for name, value in kept.items():
        if name not in public and value:
            assert len(value) > 5, name
            for form in (value, quote(value), quote_plus(value)):
                assert form.encode() not in exported, name


def test_log_lines_name_their_trace(story: Story) -> None:
    spans_of = {
        span.attributes["idp.request_id"]: span for span in story.collector.spans if "idp.request_id" in span.attributes
    }
    lines = [line for line in story.log if line["event"] == "request" and line["request_id"] in spans_of]
    assert len(lines) > 10
    for line in lines:
        span = spans_of[line["request_id"]]
        assert (line["trace_id"], line["span_id"]) == (span.trace_id, span.span_id)
    assert COLLECTOR_SECRET not in story.server.log


def test_probes_have_no_span(story: Story) -> None:
    """The fixture has waited for /health/ready."""
    assert not [span for span in story.collector.spans if "/health" in span.name]


# Whose decision counts


HOSTILE = (
    TRACEPARENT,
    "00-" + "0" * 32 + "-b7ad6b7169203331-01",
    "ff-" + "-".join(SENDER) + "-01",
    "zz",
    "00-" + "a" * 32 + "-" + "b" * 16 + "-01" + "-x" * 3000,
    "\u00e9\u00ff",
    ",".join([TRACEPARENT] * 3),
    "",
)


STATES = ("", "a=b", "=" * 5000, "a" * 600, ",,,")


def test_a_stranger_cannot_have_a_trace_recorded(start_server: StartServer, collector: Collector) -> None:
    """Nor break a request, nor fill the log."""
    server = start_server(OTEL_TRACES_SAMPLER="parentbased_always_off", **collector.settings)
    for header in HOSTILE:
        for state in STATES:
            headers = [(b"traceparent", header.encode("latin-1")), (b"tracestate", state.encode())]
            assert httpx.get(f"{server.url}/authorize", headers=headers, verify=TLS).status_code == 400
    twice = httpx.get(f"{server.url}/authorize", headers=[("traceparent", TRACEPARENT)] * 2, verify=TLS)
    assert twice.status_code == 400
    assert server.stop() == 0
    assert collector.bodies == []
    assert "tracing_failed" not in server.log


def test_a_trusted_proxy_decides(start_server: StartServer, collector: Collector) -> None:
    server = start_server(
        IDP_TRUSTED_PROXIES="127.0.0.0/8", OTEL_TRACES_SAMPLER="parentbased_always_off", **collector.settings
    )
    for header in (*HOSTILE, f"{TRACEPARENT[:-2]}00"):
        for state in STATES:
            headers = [(b"traceparent", header.encode("latin-1")), (b"tracestate", state.encode())]
            assert httpx.get(f"{server.url}/authorize", headers=headers, verify=TLS).status_code == 400
    assert server.stop() == 0
    requests = [span for span in collector.spans if span.kind == "SERVER"]
    assert [(span.trace_id, span.parent, span.links) for span in requests] == [(*SENDER, [])] * len(STATES)


# A collector that is down, hangs or refuses


@pytest.mark.parametrize("trouble", ["down", "hang", "401"])
def test_requests_do_not_notice_trouble(start_server: StartServer, collector: Collector, trouble: str) -> None:
    """The queue is small, so that spans are dropped. A worker that waited for the SDK would take half a minute."""
    where = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"} if trouble == "down" else {}
    collector.behaviour = "hang" if trouble == "down" else trouble
    server = start_server(
        **collector.settings
        | where
        | {
            "IDP_DRAIN_TIMEOUT": "60",
            "OTEL_BSP_MAX_QUEUE_SIZE": "8",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "8",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "60",
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer {COLLECTOR_SECRET}",
        }
    )
    with httpx.Client(timeout=10, verify=TLS) as http:
        for _ in range(100):
            assert http.get(f"{server.url}/authorize").status_code == 400
        until(lambda: "tracing_failed" in server.log)
    # Its own limit is below that of the SDK.
    assert server.stop() == 0
    told = [line for line in server.log.splitlines() if "tracing_failed" in line]
    assert 1 <= len(told) <= 6
    assert COLLECTOR_SECRET not in server.log


def test_trouble_is_logged_once_a_minute_without_what_it_quotes() -> None:
    library, handler = logging.getLogger("tests.tracing"), worker._Trouble()
    library.addHandler(handler)
    library.propagate = False
    with structlog.testing.capture_logs() as lines:
        for _ in range(5):
            library.error("Failed to export %s batch code: %s, reason: %s", "spans", 401, "https://user:hunter2@x")
            library.info("Nothing.")
        library.warning("Queue full, dropping %s.", "Span")
        handler._logged = dict.fromkeys(handler._logged, time.monotonic() - worker.LOG_SECONDS)
        library.warning("Queue full, dropping %s.", "Span")
    assert [line["event"] for line in lines] == ["tracing_failed"] * 3
    assert (lines[0]["status"], "hunter2" in str(lines)) == (401, False)


# Switching it on


def test_without_the_extra_the_server_does_not_start(tmp_path: Path) -> None:
    code = "import sys; sys.modules['opentelemetry'] = None; from idp.__main__ import main; main()"
    environment = clean_environment() | {"IDP_MASTER_KEY": MASTER_KEY, "IDP_TRACING": "true"} | CHEAP_HASHING
    ended = subprocess.run(
        [sys.executable, "-c", code, "serve", "--dev", "--port", str(free_port())],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert "Install the extra `otel`" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("variable", worker.PROTOCOL_VARIABLES)
def test_another_protocol_is_refused(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "grpc")
    with pytest.raises(SettingsError, match=f"^{variable} must be http/protobuf"):
        worker.check()


async def test_the_sdk_can_be_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    worker.start()
    assert spans.tracer is None
    await worker.stop()


def test_without_the_setting_the_library_is_not_loaded() -> None:
    code = "import sys; from idp.app import create_app; create_app(); sys.exit('opentelemetry' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env=clean_environment() | {"IDP_MASTER_KEY": MASTER_KEY})


# Statements that several requests share


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """The spans of this process."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(spans, "tracer", Tracer(provider.get_tracer("tests")))
    return exporter


NAMES = CoalescedQuery("name text", "SELECT asked.number, asked.name FROM asked LEFT JOIN users ON false")
WRONG = CoalescedQuery("value int", "SELECT number, 1 / value AS x FROM asked")


async def _asked(query: CoalescedQuery, number: int, **values: Any) -> None:
    with spans.work(f"request {number}", {}):
        await query.fetchrow(**values)


async def test_a_shared_statement_is_in_every_trace(db: str, exported: InMemorySpanExporter) -> None:
    await asyncio.gather(*(_asked(NAMES, number, name="x") for number in range(3)), NAMES.fetchrow(name="x"))
    found = exported.get_finished_spans()
    requests = {span.context.span_id: span for span in found if span.name.startswith("request ")}
    shared = [span for span in found if span.name == "shared statement"]
    owners = {requests[span.parent.span_id].name for span in shared if span.parent}
    assert owners == {"request 0", "request 1", "request 2"}
    assert {span.attributes["idp.requests"] for span in shared if span.attributes} == {4}
    (whole,) = [span for span in shared if len(span.links) == 2]
    assert {span.links[0].context.span_id for span in shared if span is not whole} == {whole.context.span_id}
    assert {link.context.trace_id for link in whole.links} == {
        span.context.trace_id for span in shared if span is not whole
    }
    (statement,) = [span for span in found if span.parent and span.parent.span_id == whole.context.span_id]
    assert statement.name == "SELECT users"


async def test_an_error_of_one_request_fails_its_span_only(db: str, exported: InMemorySpanExporter) -> None:
    results = await asyncio.gather(
        *(_asked(WRONG, number, value=min(number, 1)) for number in range(3)), return_exceptions=True
    )
    assert sum(isinstance(result, Exception) for result in results) == 1
    failed = [span for span in exported.get_finished_spans() if not span.status.is_ok]
    assert {span.name for span in failed if span.name.startswith("request ")} == {"request 0"}
    assert {(span.attributes or {})["error.type"] for span in failed if span.name == "SELECT"} == {"22012"}


async def test_a_library_that_fails_fails_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(NoOpTracer):
        def start_span(self, *arguments: Any, **options: Any) -> Any:
            raise RuntimeError

    monkeypatch.setattr(spans, "tracer", Tracer(Broken()))
    monkeypatch.setattr(logs, "strict", False)
    observers.take_failures()
    with spans.work("x", {}), spans.statement("SELECT 1"):
        assert spans.headers() == {}
    assert observers.take_failures() == {"traces": 1}


async def test_nothing_is_traced_outside_of_a_request(db: str, exported: InMemorySpanExporter) -> None:
    """Polling would be a trace every second."""
    await NAMES.fetchrow(name="x")
    assert exported.get_finished_spans() == ()
    assert spans.headers() == {}
