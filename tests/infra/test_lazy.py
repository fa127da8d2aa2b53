"""Slow modules are not loaded before they are needed."""

import subprocess
import sys

import pytest

from idp.infra.lazy import lazy


def _run(program: str) -> None:
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_a_module_is_loaded_when_it_is_used() -> None:
    _run(
        "import sys; from idp.infra.lazy import lazy; module = lazy('webauthn')\n"
        "assert 'webauthn.helpers' not in sys.modules\n"
        "assert module.helpers.structs.UserVerificationRequirement.REQUIRED\n"
        "assert lazy('webauthn') is module"
    )


@pytest.mark.parametrize(
    "name",
    [
        "webauthn",
        "ua_parser",
        "maxminddb",
        "pydantic.v1",
        "email_validator",
        "segno",
        "authlib.integrations",
    ],
)
def test_the_application_starts_without_it(name: str) -> None:
    _run(
        "import sys, idp.app; idp.app.create_app()\n"
        f"assert not [name for name in sys.modules if name.startswith('{name}.')]"
    )


def test_a_missing_module_fails_immediately() -> None:
    with pytest.raises(ModuleNotFoundError):
        lazy("no_such_module_of_ours")
