"""The undocumented parts of libraries that we use behave as docs/private-apis.md says.

A failure means that a library changed. Look at its row in the document for what to do.
"""

import inspect
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import structlog
from litestar import Request, Response, post
from litestar.response.base import ASGIResponse

from idp.infra import tested_versions

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "private-apis.md").read_text()
CHECKS: dict[str, Callable[[], None]] = {}


def check(function: Callable[[], None]) -> Callable[[], None]:
    CHECKS[function.__name__] = function
    return function


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


@check
def granian_supervisor() -> None:
    from granian.server.common import AbstractServer
    from granian.server.mp import MPServer

    assert parameters(MPServer._serve_loop) == ["self", "spawn_target", "target_loader"]
    assert parameters(MPServer._respawn_workers) == ["self", "workers", "spawn_target", "target_loader", "delay"]
    source = inspect.getsource(AbstractServer)
    for name in ("main_loop_interrupt", "interrupt_children", "interrupt_signal", "wrks"):
        assert f"self.{name}" in source
    # It ends when the server ends, with a failure if workers are reported dead.
    assert "self._serve_loop(spawn_target, target_loader)" in source
    assert "if not exit_code and self.interrupt_children:" in source


@check
def granian_start() -> None:
    from granian.server.common import AbstractWorker
    from granian.server.mp import WorkerProcess

    assert WorkerProcess.start.__qualname__ in ("AbstractWorker.start", "_start")
    assert parameters(AbstractWorker.start) == ["self"]
    source = inspect.getsource(AbstractWorker)
    assert "self.inner.start()" in source
    assert "self.birth = time.monotonic()" in source


@check
def granian_join() -> None:
    from granian.server.common import AbstractWorker
    from granian.server.mp import WorkerProcess

    assert parameters(AbstractWorker.join) == ["self", "timeout"]
    # The thread that waits for the same process.
    assert "self.inner.join()" in inspect.getsource(AbstractWorker._watcher)
    assert "Process(" in inspect.getsource(WorkerProcess._spawn)


@check
def granian_signals() -> None:
    from granian import _signals
    from granian._granian import WorkerSignal
    from granian.server.mp import MPServer

    assert parameters(_signals.set_loop_signals) == ["loop"]
    assert callable(WorkerSignal().set)
    for spawn in (MPServer._spawn_asgi_worker, MPServer._spawn_asgi_lifespan_worker):
        source = inspect.getsource(spawn)
        # Looked up when the worker starts, after the application was created.
        assert "from granian._signals import set_loop_signals" in source
        assert "shutdown_event = set_loop_signals(loop)" in source


def _scope() -> Any:
    return {
        "type": "http", "method": "GET", "path": "/", "query_string": b"q=1", "path_params": {"id": "2"},
        "headers": [(b"cookie", b"c=1"), (b"x-a", b"3")],
    }  # fmt: skip


@check
def litestar_response() -> None:
    encoded = Response(b"x", media_type="text/plain").to_asgi_response(None, Request(_scope()), status_code=201)
    assert isinstance(encoded, ASGIResponse)
    assert (encoded.body, encoded.status_code) == (b"x", 201)
    assert (b"content-type", b"text/plain; charset=utf-8") in encoded.encode_headers()


@check
def litestar_handlers() -> None:
    async def function(request: object) -> None: ...

    handler = post(["/a", "/b"], opt={"access": "page"}, status_code=200)(function)
    assert handler.fn is function
    assert (set(handler.paths), set(handler.http_methods)) == ({"/a", "/b"}, {"POST"})
    assert (handler.opt["access"], handler.status_code) == ("page", 200)


@check
def litestar_request() -> None:
    request = Request[Any, Any, Any](_scope())
    assert (request.method, request.cookies, request.headers["x-a"]) == ("GET", {"c": "1"}, "3")
    assert (dict(request.query_params), request.path_params) == ({"q": "1"}, {"id": "2"})


@check
def piccolo_engine() -> None:
    from piccolo.engine.postgres import PostgresEngine

    assert parameters(PostgresEngine._run_in_pool) == ["self", "query", "args"]
    assert parameters(PostgresEngine.run_querystring) == ["self", "querystring", "in_pool"]
    for name in ("check_version", "prep_database", "get_new_connection"):
        assert inspect.iscoroutinefunction(getattr(PostgresEngine, name))
    assert "self.pool.acquire()" in inspect.getsource(PostgresEngine._run_in_pool)


@check
def piccolo_transaction() -> None:
    from piccolo.engine.postgres import PostgresEngine, PostgresTransaction

    assert parameters(PostgresTransaction.__init__)[:2] == ["self", "engine"]
    source = inspect.getsource(PostgresEngine.run_querystring)
    assert "self.current_transaction.get()" in source
    assert "current_transaction.connection.fetch(" in source


@check
def piccolo_tables() -> None:
    from idp.accounts.tables import User

    assert "_exists_in_db" in parameters(User.__init__)
    assert User(_exists_in_db=True, _ignore_missing=True)._exists_in_db
    assert User._meta.tablename == "users"
    assert User.email._meta.db_column_name == "email"
    assert User.email in User._meta.columns


@check
def piccolo_constraints() -> None:
    from piccolo.columns import Column
    from piccolo.constraints import Constraint

    from idp.signin.tables import Session

    assert Constraint.__abstractmethods__ == {"_table_str", "ddl", "serialise_self"}
    assert isinstance(Constraint.__dict__["ddl"], property)
    assert isinstance(Column.__dict__["ddl"], property)
    reference = Session.user_id._foreign_key_meta
    assert reference.resolved_references._meta.get_formatted_tablename() == '"users"'
    assert reference.resolved_target_column._meta.db_column_name == "id"
    assert {reference.on_update.value, reference.on_delete.value} == {"NO ACTION", "CASCADE"}


@check
def asyncpg_reset() -> None:
    assert parameters(asyncpg.Connection.get_reset_query) == ["self"]
    assert "get_reset_query()" in inspect.getsource(asyncpg.Connection.reset)


@check
def joserfc_models() -> None:
    from joserfc.jwa import EdDSAAlgorithm, ESAlgorithm, JWSAlgModel
    from joserfc.jws import CompactSignature

    assert parameters(ESAlgorithm.sign) == parameters(JWSAlgModel.sign) == ["self", "msg", "key"]
    assert hasattr(EdDSAAlgorithm, "security_warning")
    assert CompactSignature({}, b"").segments == {}


@check
def prometheus_files() -> None:
    from prometheus_client import metrics, values

    assert parameters(values.MultiProcessValue) == ["process_identifier"]
    # The class is looked up when a metric is created, and its files are named by the identifier.
    assert "values.ValueClass(" in inspect.getsource(metrics)
    assert "pid['value']" in inspect.getsource(values.MultiProcessValue)


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_the_library_is_as_it_was(name: str) -> None:
    CHECKS[name]()


def test_the_document_names_every_check() -> None:
    table = DOCUMENT.partition("## What went")[0]
    assert set(re.findall(r"\| `(\w+)` \|$", table, re.MULTILINE)) == set(CHECKS)


def test_the_tested_versions_are_those_that_may_be_installed() -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    bounded = {}
    for dependency in dependencies:
        found = re.match(r"([\w-]+)(?:\[\w+\])?>=([\d.]+),<([\d.]+)", dependency)
        if found:
            bounded[found[1]] = (found[2], found[3])
    assert bounded == tested_versions.TESTED
    for name, (first, _) in tested_versions.TESTED.items():
        assert f"| {name} | {first} |" in DOCUMENT


def test_installed_versions_are_tested() -> None:
    assert tested_versions.untested() == []


@pytest.mark.parametrize("version", ["2.7.9", "2.9", "2.9.0rc1", "3.0"])
def test_another_version_is_logged(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {name: first for name, (first, _) in tested_versions.TESTED.items()} | {"granian": version}
    monkeypatch.setattr(tested_versions, "version", installed.__getitem__)
    with structlog.testing.capture_logs() as lines:
        tested_versions.warn()
    assert [(line["event"], line["log_level"]) for line in lines] == [("untested_version", "warning")]
    assert f"granian {version}" in lines[0]["reason"]


@pytest.mark.parametrize("version", ["2.8", "2.8.7", "2.8.99.post1"])
def test_a_patch_is_tested(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {name: first for name, (first, _) in tested_versions.TESTED.items()} | {"granian": version}
    monkeypatch.setattr(tested_versions, "version", installed.__getitem__)
    assert tested_versions.untested() == []
