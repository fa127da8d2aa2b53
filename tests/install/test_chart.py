"""The chart: what it renders is what the image and the settings expect, and values that would fail are refused."""

import ipaddress
import json
import os
import re
import runpy
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

import idp
from idp.keys import vault
from idp.settings import SECRETS, Settings, load
from tests.install.conftest import ROOT
from tests.install.test_image import the

CHART = ROOT / "deploy" / "helm" / "idp"
EVERYTHING = Path(__file__).with_name("chart.yaml")
HELM = shutil.which("helm", path=f"{os.environ['PATH']}:{ROOT / 'tests/clients/go/bin'}")
ISSUER = {"issuer": "https://id.example.com"}
#: The least that must be set.
LEAST = {
    "settings": ISSUER,
    "existingSecrets": {"database_url": {"name": "db"}, "master_key": {"name": "idp"}},
}
Resource = dict[str, Any]


def helm(*words: str | Path) -> subprocess.CompletedProcess[str]:
    if HELM is None:
        pytest.skip("helm is not installed. Run tests/clients/install.")
    return subprocess.run([HELM, *words], capture_output=True, text=True, timeout=60, check=False)


def render(values: Path) -> list[Resource]:
    """Return what the chart makes of a file of values."""
    done = helm("template", "idp", CHART, "--kube-version", "1.34", "--values", values)
    assert done.returncode == 0, done.stderr
    return [resource for resource in yaml.safe_load_all(done.stdout) if resource]


def written(folder: Path, values: dict[str, Any]) -> Path:
    (path := folder / "values.yaml").write_text(json.dumps(values))
    return path


def kind(resources: list[Resource], name: str) -> Resource:
    """Return the only resource of a kind."""
    (found,) = [resource for resource in resources if resource["kind"] == name]
    return found


def pod(resource: Resource) -> dict[str, Any]:
    found = resource["spec"]["template"]["spec"]
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def everything() -> list[Resource]:
    return render(EVERYTHING)


def test_the_schema_has_the_settings() -> None:
    schema = runpy.run_path(str(ROOT / "deploy" / "helm" / "schema.py"))
    assert schema["FILE"].read_text() == schema["text"](), "Run: .venv/bin/python deploy/helm/schema.py"
    named = json.loads(schema["FILE"].read_text())["properties"]
    listed = named["settings"]["properties"].keys() | named["secrets"]["properties"].keys() | schema["OF_THE_CHART"]
    assert listed == set(Settings.model_fields)
    assert named["existingSecrets"]["properties"].keys() == SECRETS


def test_every_value_is_in_the_schema_and_explained() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]
    assert values.keys() == schema.keys() - {"global"}
    page = (CHART / "README.md").read_text()
    assert [name for name in values if f"`{name}" not in page] == []


def test_the_chart_has_the_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (idp.__version__, idp.__version__)


def test_lint(tmp_path: Path) -> None:
    for values in (EVERYTHING, written(tmp_path, LEAST)):
        done = helm("lint", "--strict", CHART, "--values", values)
        assert done.returncode == 0, done.stdout


def test_the_package_holds_the_rules_and_the_dashboard(tmp_path: Path) -> None:
    """In the repository they are links to the files that docs/metrics.md names."""
    assert helm("package", CHART, "--destination", tmp_path).returncode == 0
    with tarfile.open(tmp_path / f"idp-{idp.__version__}.tgz") as package:
        assert all(member.isfile() for member in package)
        for name, original in {"rules.yml": "prometheus/rules.yml", "dashboard.json": "grafana/idp.json"}.items():
            content = package.extractfile(f"idp/files/{name}")
            assert content is not None
            assert content.read() == (ROOT / "deploy" / original).read_bytes()


@pytest.mark.parametrize("name", ["Deployment", "Job"])
def test_pods_are_restricted(everything: list[Resource], name: str) -> None:
    """The profile `restricted` of the Pod Security Standards, and a root file system that is read-only."""
    spec = pod(kind(everything, name))
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert (spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (False, False)
    # What the image writes to is mounted, and nothing is mounted that has no volume.
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert mounts.keys() == {*json.loads(the("VOLUME")), "/tmp", "/run/secrets/idp", "/places"}
    assert sorted(mounts.values()) == sorted(volume["name"] for volume in spec["volumes"])


@pytest.mark.parametrize("name", ["Deployment", "Job"])
def test_the_server_reads_the_settings(
    everything: list[Resource], name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (container,) = pod(kind(everything, name))["containers"]
    for variable in [variable for variable in os.environ if variable.startswith("IDP_")]:
        monkeypatch.delenv(variable)
    for variable in container["env"]:
        value = variable["value"]
        if value.startswith("/run/secrets/idp/"):
            setting = variable["name"].removeprefix("IDP_").removesuffix("_FILE").lower()
            assert value == f"/run/secrets/idp/{setting}"
            (path := tmp_path / setting).write_text(f"secret of {setting}\n")
            value = str(path)
        monkeypatch.setenv(variable["name"], value)
    found = load()
    given = yaml.safe_load(EVERYTHING.read_text())["settings"]
    expected = given | {
        "trusted_proxies": tuple(map(ipaddress.ip_network, given["trusted_proxies"])),
        "github_organizations": ("one", "two"),
        "metrics_address": ("0.0.0.0", 9464),
        "migrate_on_start": False,
    }
    assert {setting: getattr(found, setting) for setting in expected} == expected
    assert os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector:4318"
    for setting in ("database_url", "master_key", "smtp_url"):
        assert getattr(found, setting).get_secret_value() == f"secret of {setting}"


def test_secrets_come_from_the_keys_that_are_named(everything: list[Resource]) -> None:
    (volume,) = [volume for volume in pod(kind(everything, "Deployment"))["volumes"] if volume["name"] == "secrets"]
    found = {
        item["path"]: (source["secret"]["name"], item["key"])
        for source in volume["projected"]["sources"]
        for item in source["secret"]["items"]
    }
    assert found == {
        "database_url": ("idp-db-app", "uri"),
        "master_key": ("idp", "master_key"),
        "smtp_url": ("idp", "smtp"),
    }
    assert "Secret" not in {resource["kind"] for resource in everything}


def test_values_of_secrets_are_in_a_secret_only(tmp_path: Path) -> None:
    secrets = {"database_url": "postgresql://u:sesame@db/idp", "master_key": "open-sesame"}
    resources = render(written(tmp_path, LEAST | {"existingSecrets": {}, "secrets": secrets}))
    assert kind(resources, "Secret")["stringData"] == secrets
    assert "sesame" not in json.dumps([resource for resource in resources if resource["kind"] != "Secret"])
    # A change of theirs restarts the pods.
    changed = render(written(tmp_path, LEAST | {"existingSecrets": {}, "secrets": secrets | {"master_key": "other"}}))
    assert kind(changed, "Deployment")["spec"]["template"] != kind(resources, "Deployment")["spec"]["template"]


def test_the_port_and_the_time_to_end_fit_the_server(everything: list[Resource], tmp_path: Path) -> None:
    fields = Settings.model_fields
    for resources, drain in ((everything, 30), (render(written(tmp_path, LEAST)), fields["drain_timeout"].default)):
        spec = pod(kind(resources, "Deployment"))
        (container,) = spec["containers"]
        assert container["ports"][0] == {"name": "http", "containerPort": fields["port"].default}
        before = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
        assert spec["terminationGracePeriodSeconds"] > before + drain


def test_services_select_the_server_and_no_job(everything: list[Resource]) -> None:
    deployment, job = kind(everything, "Deployment"), kind(everything, "Job")
    server, migrations = (resource["spec"]["template"]["metadata"]["labels"].items() for resource in (deployment, job))
    selectors = [resource["spec"]["selector"] for resource in everything if resource["kind"] == "Service"]
    selectors += [
        kind(everything, name)["spec"]["selector"]["matchLabels"] for name in ("Deployment", "PodDisruptionBudget")
    ]
    assert len(selectors) == 4
    for selector in selectors:
        assert selector.items() <= server
        assert not selector.items() <= migrations
    (metrics,) = [resource for resource in everything if resource["metadata"]["name"] == "idp-metrics"]
    monitor = kind(everything, "ServiceMonitor")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= metrics["metadata"]["labels"].items()
    # The job that the alerts name.
    assert metrics["metadata"]["labels"][monitor["jobLabel"]] == "idp"


def test_the_routes_follow_from_the_issuer(everything: list[Resource]) -> None:
    paths = [
        ("Prefix", "/auth"),
        ("Exact", "/.well-known/oauth-authorization-server/auth"),
        ("Exact", "/.well-known/openid-configuration/auth"),
    ]
    (rule,) = kind(everything, "Ingress")["spec"]["rules"]
    assert rule["host"] == "id.example.com"
    assert [(path["pathType"], path["path"]) for path in rule["http"]["paths"]] == paths
    route = kind(everything, "HTTPRoute")["spec"]
    assert route["hostnames"] == ["id.example.com"]
    matched = [match["path"] for match in route["rules"][0]["matches"]]
    assert [(path["type"].removeprefix("Path"), path["value"]) for path in matched] == paths


def test_alerts_and_dashboard(everything: list[Resource]) -> None:
    rules = yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())
    assert kind(everything, "PrometheusRule")["spec"] == rules
    dashboard = json.loads(kind(everything, "ConfigMap")["data"]["idp.json"])
    assert dashboard == json.loads((ROOT / "deploy/grafana/idp.json").read_text())


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"settings": {}}, "missing property 'issuer'"),
        ({"settings": ISSUER | {"sesion_lifetime": 60}}, "additional properties 'sesion_lifetime' not allowed"),
        ({"settings": ISSUER | {"database_url": "postgresql://"}}, "additional properties 'database_url'"),
        ({"settings": ISSUER | {"host": "::"}}, "additional properties 'host'"),
        ({"settings": ISSUER | {"database_pool_size": 1}}, "minimum: got 1, want 2"),
        ({"settings": ISSUER | {"scim": "yes"}}, "got string, want boolean"),
        ({"replica": 3}, "additional properties 'replica' not allowed"),
        ({"existingSecrets": {"database_url": {"name": "db"}}}, "There is no master_key."),
        ({"secrets": {"master_key": "x"}}, "master_key is in secrets and in existingSecrets."),
        (
            {"existingSecrets": {}, "secrets": {"database_url": "x", "master_key": "x"}, "migrations": "job"},
            "Use existingSecrets instead of secrets.",
        ),
        ({"httpRoute": {"enabled": True}}, "minItems: got 0, want 1"),
    ],
)  # fmt: skip
def test_values_that_would_fail_are_refused(values: dict[str, Any], reason: str, tmp_path: Path) -> None:
    done = helm("template", "idp", CHART, "--kube-version", "1.34", "--values", written(tmp_path, LEAST | values))
    assert done.returncode != 0
    assert reason in done.stderr


def test_the_page(tmp_path: Path) -> None:
    """Its values render, its master key is one, and its links lead somewhere."""
    page = (CHART / "README.md").read_text()
    (values,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (path := tmp_path / "page.yaml").write_text(values)
    assert kind(render(path), "Ingress")["spec"]["tls"] == [
        {"hosts": ["id.example.com"], "secretName": "id-example-com"}
    ]
    (pipeline,) = re.findall(r"master_key=\"\$\((.*)\)\"", page)
    made = subprocess.run(["sh", "-c", pipeline], capture_output=True, text=True, check=True).stdout
    assert len(vault.load_master_key(Settings(master_key=SecretStr(made)))) == 32
    for target in re.findall(r"\]\(([^)#]+)", page):
        assert (CHART / target).exists(), target
