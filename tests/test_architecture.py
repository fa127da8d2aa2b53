"""The allowed directions of imports between packages."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

import idp

ROOT = Path(idp.__file__).parent

#: The layers, from commands and pages down to what everything uses. An import points downwards, or stays in its layer.
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"cli", "admin", "migration", "config", "dev"}),
    frozenset({"doctor", "rehearsal"}),
    frozenset({"selfservice", "events", "scim", "provisioning"}),
    frozenset({"signin", "oauth"}),
    frozenset({"http"}),
    frozenset({"federation", "directory", "accounts"}),
    frozenset({"branding", "delivery", "keys", "mail", "audit", "trace"}),
    frozenset({"infra"}),
    frozenset({"settings", "errors", "reasons", "clock", "ids"}),
)
LAYER = {package: number for number, packages in enumerate(LAYERS) for package in packages}

#: The modules of the assembly, which may import everything, and which nothing imports.
ASSEMBLY = frozenset({"__main__", "app", "housekeeping", "piccolo_app", "piccolo_conf"})

#: Imports in the wrong direction, each with its reason. No more may be added.
DEVIATIONS = {
    # `idp serve` starts the application of the assembly.
    ("idp.cli.workers", "idp.app"),
    # `idp db distribute` places the tables by the groups in which the assembly lists them.
    ("idp.cli.db", "idp.piccolo_app"),
}


@cache
def modules() -> dict[str, ast.Module]:
    """Every module by name, parsed. Migrations are excluded, because they import only Piccolo."""
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = ("idp", *path.relative_to(ROOT).with_suffix("").parts)
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text())
    return found


def imports(name: str) -> Iterator[str]:
    """Return the modules that a module imports, also inside of functions and for types."""
    for node in ast.walk(modules()[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative imports hide where an arrow points."
            assert node.module is not None
            # `from idp.http import forms` imports a module, `from idp.http.forms import form` a name of one.
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules() else node.module


def arrows() -> set[tuple[str, str]]:
    """Return every import of one of our modules by another."""
    return {
        (name, imported)
        for name in modules()
        for imported in imports(name)
        if imported.partition(".")[0] == "idp" and imported not in (name, "idp")
    }


def package(name: str) -> str:
    """Return the package to which a module belongs."""
    return name.split(".")[1] if "." in name else "idp"


def test_every_package_has_a_layer() -> None:
    """A new package or module must be put into a layer before anything else."""
    assert {package(name) for name in modules()} - {"idp"} <= LAYER.keys() | ASSEMBLY


def test_arrows_point_downwards() -> None:
    wrong = {
        (name, imported)
        for name, imported in arrows()
        if package(name) not in ASSEMBLY
        and (package(imported) in ASSEMBLY or LAYER[package(name)] > LAYER[package(imported)])
    }
    assert wrong == DEVIATIONS


def test_no_cycles_between_packages() -> None:
    """Also inside of a layer: if `oauth` imports `signin`, `signin` must not import `oauth`."""
    graph: dict[str, set[str]] = {}
    for name, imported in arrows() - DEVIATIONS:
        if package(name) != package(imported):
            graph.setdefault(package(name), set()).add(package(imported))
    TopologicalSorter(graph).prepare()


def test_no_cycles_between_modules() -> None:
    """Imports in the `__init__` of a package are ignored, because it is imported before its modules anyway."""
    graph: dict[str, set[str]] = {}
    for name, imported in arrows() - DEVIATIONS:
        graph.setdefault(name, set()).add(imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


#: Modules without routes that read requests or make responses for the routes of their package.
HELPERS_OF_ROUTES = {
    "idp.admin.console.branding_preview",
    "idp.admin.console.mail_templates",
    "idp.admin.console.once",
    "idp.admin.api.endpoint",
    "idp.admin.api.openapi",
    "idp.admin.api.operation",
    "idp.admin.api.problems",
    "idp.oauth.authorize.organization_sign_in",
    "idp.oauth.authorize.respond",
    "idp.oauth.binding.proofs",
    "idp.oauth.protected",
    "idp.oauth.token.refresh_cookie",
    "idp.scim.answers",
    "idp.selfservice.account_page",
    "idp.selfservice.notices",
    "idp.signin.http",
    "idp.signin.onward",
    "idp.signin.other_browser",
}


def holds_routes(name: str) -> bool:
    """Return whether a module has a list of routes."""
    return any(
        getattr(target, "id", "") == "ROUTES"
        for node in modules()[name].body
        for target in ([node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", ()))
    )


def test_services_know_nothing_of_http() -> None:
    """They take values and raise errors of their domain. Requests and responses are for modules with routes."""
    found = {
        name
        for name, imported in arrows()
        if package(imported) == "http" and package(name) not in ASSEMBLY | {"http"} and not holds_routes(name)
    }
    assert found == HELPERS_OF_ROUTES


@pytest.mark.parametrize(
    "layer", ["accounts", "branding", "directory", "federation", "delivery", "keys", "audit", "trace", "mail", "infra"]
)
def test_domains_know_no_request(layer: str) -> None:
    """They do not import the framework; infra imports at most its types for templates and ASGI."""
    found = {
        name for name in modules() if package(name) == layer for imported in imports(name) if "litestar" in imported
    }
    assert found == set()


def test_sign_in_knows_nothing_of_oauth() -> None:
    """No package that it imports does either."""
    reached, found = set[str](), {name for name in modules() if package(name) == "signin"}
    while found:
        reached |= found
        found = {imported for name, imported in arrows() - DEVIATIONS if name in found} - reached
    assert {name for name in reached if package(name) == "oauth"} == set()


@pytest.mark.parametrize(
    ("library", "only"),
    [
        (
            "joserfc",
            {
                f"idp.keys.jose.{part}"
                for part in (
                    "claims",
                    "encryption",
                    "keys",
                    "registries",
                    "signing",
                    "verification",
                )
            },
        ),
        ("httpcore", {"idp.infra.outbound", "idp.infra.outbound_streams"}),
        ("httpx", {"idp.infra.outbound"}),
        ("httpx2", set()),
        ("aiohttp", set()),
        ("requests", set()),
        ("urllib3", set()),
        ("granian", {"idp.cli.workers"}),
        ("argon2", {"idp.accounts.passwords"}),
        ("aiosmtplib", {"idp.mail.smtp"}),
        ("babel", {"idp.infra.i18n"}),
        ("bcrypt", {"idp.accounts.imported_hashes"}),
        ("dns", {"idp.infra.dns"}),
        (
            "jinja2",
            {"idp.infra.templates", "idp.cli.serve", "idp.mail.templates.checks", "idp.mail.templates.language"},
        ),
        ("maxminddb", {"idp.infra.geoip"}),
        (
            "opentelemetry",
            {
                "idp.infra.request_context",
                "idp.infra.tracing.spans",
                "idp.infra.tracing.tracer",
                "idp.infra.tracing.worker",
            },
        ),
        ("pydantic", {"idp.settings"}),
        ("pyotp", {"idp.signin.factors.totp"}),
        ("segno", {"idp.signin.factors.totp"}),
        ("yaml", {"idp.config.syntax"}),
        ("webauthn", {"idp.signin.factors.passkeys"}),
        ("zxcvbn_rs_py", {"idp.accounts.strength"}),
    ],
)
def test_one_module_speaks_to_a_library(library: str, only: set[str]) -> None:
    """One module per library is the one place to read, guard and change."""
    found = {name for name in modules() for imported in imports(name) if imported.partition(".")[0] == library}
    assert found == only


def test_one_module_accepts_access_tokens() -> None:
    """Every resource of ours checks the key that a token is bound to. Introspection and revocation accept none, token
    exchange checks the key by its policy, and the admin API and SCIM lock one that was accepted.
    """
    found = {name for name, imported in arrows() if imported == "idp.oauth.access_tokens"}
    assert found == {
        "idp.oauth.protected",
        "idp.oauth.introspection",
        "idp.oauth.revocation",
        "idp.oauth.exchange.parties",
        "idp.admin.api.endpoint",
        "idp.scim.access",
    }


def test_the_standard_library_calls_no_servers() -> None:
    """Such a call would bypass the checks that protect the internal network."""
    callers = {"urllib", "urllib.request", "http.client", "ftplib", "xmlrpc.client"}
    assert {name for name in modules() for imported in imports(name) if imported in callers} == set()


def test_one_function_decodes_responses() -> None:
    """``Response.json`` of httpx raises a RecursionError for a value that is nested too deeply."""
    callers = {
        name
        for name, module in modules().items()
        for node in ast.walk(module)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "json"
        if not node.args and not node.keywords
    }
    assert callers == {"idp.dev.relying_party"}


def test_only_http_makes_cookies() -> None:
    """Every one of them then carries the prefix and the attributes that protect it."""
    makers = set()
    for name, tree in modules().items():
        for node in ast.walk(tree):
            called = getattr(node, "func", None)
            makes = getattr(called, "id", getattr(called, "attr", None)) in ("Cookie", "set_cookie")
            writes = isinstance(node, ast.Constant) and str(node.value).lower() == "set-cookie"
            if makes or writes:
                makers.add(name)
    # The doctor reads the header, to see whether a proxy changes it; a rehearsal as a browser does.
    assert makers - {"idp.doctor.cookie_ways", "idp.rehearsal.smoke"} == {"idp.http.cookies"}


def test_only_one_module_reads_the_clock() -> None:
    """Tests can move this clock. Measuring a duration is allowed."""
    readers = set()
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and (getattr(node.value, "id", ""), node.attr) in {
                ("datetime", "now"), ("datetime", "utcnow"), ("time", "time"), ("date", "today"),
            }:  # fmt: skip
                readers.add(name)
    assert readers == {"idp.clock"}


def test_every_commit_is_durable() -> None:
    """A response must be true after a crash of PostgreSQL, whatever speed that costs. Only the deletion of what has
    expired belongs to no response.
    """
    for path in (*ROOT.rglob("*.py"), *ROOT.rglob("*.sql")):
        text = path.read_text().lower()
        # The doctor reads whether the operator switched it off.
        if path.parent.name != "doctor" and path.name != "expiring.py":
            assert "synchronous_commit" not in text, path
        assert "unlogged" not in text, path


def test_layers_are_disjoint() -> None:
    assert len(LAYER) == sum(map(len, LAYERS))
    assert all(above.isdisjoint(below) for above, below in pairwise(LAYERS))
