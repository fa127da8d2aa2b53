"""Settings that contradict each other, each found and named."""

from typing import Any

import pytest

from idp.doctor.models import Level, Needs
from idp.doctor.settings import RULES
from idp.settings import DAY, load
from tests.support.examinations import named, one, run

#: Settings of a server that others can use.
PRODUCTION: dict[str, Any] = {
    "issuer": "https://id.example.com",
    "trusted_proxies": "10.0.3.0/24",
    "database_url": "postgresql://idp:a-password@db.example.com/idp",
    "smtp_url": "smtp://idp:a-password@mail.example.com:587",
    "mail_from": "Example <no-reply@example.com>",
    "argon2_memory_cost": 19456,
    "outbound_allow_http": False,
    "outbound_allowed_hosts": "",
    "audit_checkpoint_url": "https://archive.example.com/",
    "master_key": "A" * 43,
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def check(**settings: Any) -> set[tuple[str, Level]]:
    return named(await run("settings", provides=Needs.SETTINGS, **(PRODUCTION | settings)))


async def test_a_sound_server_has_no_finding() -> None:
    assert await check() == set()


#: For each rule, settings that break it besides those of production.
BROKEN: dict[str, dict[str, Any]] = {
    "session_idle_beyond_lifetime": {"session_idle_lifetime": 2 * DAY, "session_lifetime": DAY},
    "refresh_token_beyond_family": {"refresh_token_lifetime": 91 * DAY},
    "access_token_outlives_refresh_token": {"access_token_lifetime": 600, "refresh_token_lifetime": 600},
    "refresh_repeat_within_grace": {"refresh_token_grace": 60, "refresh_token_repeat": 30},
    "email_code_outlives_flow": {"flow_lifetime": 300},
    "secret_overlap_beyond_lifetime": {"client_secret_lifetime": DAY, "client_secret_overlap": 2 * DAY},
    "ciba_default_beyond_maximum": {"ciba": True, "ciba_request_max_lifetime": 60},
    "document_cache_bounds_reversed": {
        "client_id_metadata_min_lifetime": DAY,
        "client_id_metadata_max_lifetime": 3600,
    },
    "domain_grace_below_check": {"domain_grace": 3600},
    "key_signs_before_caches_end": {"key_publication": 60},
    "rotation_within_deadline": {"key_rotation_interval": 3600},
    "jwks_cached_for_days": {"jwks_max_age": 3 * DAY},
    "mail_missing": {"smtp_url": None},
    "server_isolated": {"isolated": True},
    "document_hosts_missing": {"client_id_metadata_documents": "allow-list"},
    "document_hosts_unused": {"client_id_metadata_hosts": "app.example.com"},
    "statement_issuers_missing": {"client_registration": "open", "client_registration_statement_required": True},
    "registration_settings_unused": {"client_registration_hosts": "app.example.com"},
    "shared_signals_subjects_unused": {"shared_signals_subjects": "all"},
    "certificate_header_untrusted": {"client_certificate_header": "nginx", "trusted_proxies": ""},
    "mtls_without_header": {"mtls_url": "https://mtls.example.com"},
    "mtls_url_is_issuer": {"client_certificate_header": "nginx", "mtls_url": "https://id.example.com"},
    "google_incomplete": {"google_client_id": "abc"},
    "github_incomplete": {"github_organizations": "acme"},
    "ports_collide": {"metrics_address": "127.0.0.1:8000"},
    "issuer_without_https": {"issuer": "http://id.example.com"},
    "development_mode_exposed": {"dev": True},
    "proxies_not_named": {"trusted_proxies": ""},
    "mtls_url_without_https": {"client_certificate_header": "nginx", "mtls_url": "http://mtls.example.com"},
    "mail_from_not_public": {"mail_from": "idp@localhost"},
    "outbound_without_https": {"outbound_allow_http": True},
    "breached_passwords_without_https": {"breached_passwords_url": "http://passwords.example.com/range/"},
    "breached_passwords_url_incomplete": {"breached_passwords_url": "https://passwords.example.com/range"},
    "administrators_with_one_factor": {"admin_acr": "1"},
    "address_limits_off": {"address_limits": False},
    "hashing_too_cheap": {"argon2_memory_cost": 1024},
    "passwords_not_rated": {"password_min_score": 0},
    "legacy_response_types_on": {"legacy_response_types": True},
    "access_tokens_live_long": {"access_token_lifetime": 7200},
    "database_embedded": {"database_url": None},
    "logs_everything": {"log_level": "debug"},
    "audit_kept_briefly": {"audit_retention": 7 * DAY},
    "audit_checkpoints_stay_inside": {"audit_checkpoint_url": None},
}
#: Rules that a broken one brings with it.
TOGETHER = {"issuer_without_https": set[str](), "certificate_header_untrusted": {"proxies_not_named"}}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
async def test_every_rule_finds_its_contradiction(rule: Any, tmp_path: Any) -> None:
    if rule.name == "master_key_twice":
        keys = tmp_path / "keys"
        keys.mkdir()
        (keys / "master.key").write_text("x")
        settings: dict[str, Any] = {"keys_dir": keys}
    else:
        settings = BROKEN[rule.name]
    found = await check(**settings)
    assert (rule.name, rule.level) in found
    assert {name for name, _ in found} == {rule.name} | TOGETHER.get(rule.name, set())


def test_texts_name_only_settings_that_exist() -> None:
    known = {f"IDP_{name.upper()}" for name in type(load()).model_fields} | {"IDP_GOOGLE_", "IDP_GITHUB_"}
    for rule in RULES:
        words = {word.strip(".,:").partition("=")[0] for word in f"{rule.text} {rule.mend}".split()}
        assert {word for word in words if word.startswith("IDP_")} <= known, rule.name


@pytest.mark.parametrize(
    ("settings", "name", "level", "mend"),
    [
        ({"trusted_proxies": "0.0.0.0/0"}, "trusts_every_proxy", Level.ERROR, "Name the addresses"),
        ({"trusted_proxies": "::/0"}, "trusts_every_proxy", Level.ERROR, "Name the addresses"),
        ({"outbound_allowed_hosts": "169.254.0.0/16"}, "outbound_to_metadata_service", Level.WARNING, "small networks"),
        ({"smtp_url": "smpt://mail.example.com"}, "smtp_url_malformed", Level.ERROR, "IDP_SMTP_URL"),
        (
            {"smtp_url": "smtp://idp:a-password@mail.example.com?starttls=never"},
            "smtp_password_in_plain", Level.ERROR, "Remove starttls=never",
        ),
        (
            {"client_registration": "open", "client_registration_grant_types": "magic"},
            "registration_ceiling_invalid", Level.ERROR, "Correct the list",
        ),
        ({"workers": 4096}, "more_workers_than_cpus", Level.NOTE, "answer no faster"),
    ],
)  # fmt: skip
async def test_other_contradictions(settings: dict[str, Any], name: str, level: Level, mend: str) -> None:
    findings = await run("settings", provides=Needs.SETTINGS, **(PRODUCTION | settings))
    assert named(findings) == {(name, level)}
    assert mend in one(findings, name).mend
