"""Client certificates in the headers of proxies: who may send them, and what they hold."""

import base64
from collections.abc import Iterator
from datetime import timedelta
from hashlib import sha256
from ipaddress import ip_network
from typing import Any
from urllib.parse import quote

import pytest

from idp import clock
from idp.http.client_certificate import HEADERS as HEADER_NAMES
from idp.http.client_certificate import MAX_LENGTH, client_certificate
from idp.infra import request_context
from idp.infra.request_context import ForwardedCertificate
from idp.oauth.binding import certificates
from idp.settings import Settings
from tests.support.certificates import HEADERS, certificate, der, headers, pem

ONE = certificate()
PROXIES = (ip_network("10.0.0.0/8"),)


def scope(sent: list[tuple[str, str]], peer: str | None = "10.1.2.3") -> Any:
    return {
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in sent],
        "client": (peer, 1) if peer is not None else None,
    }


def read(
    sent: list[tuple[str, str]], form: str = "rfc9440", peer: str | None = "10.1.2.3", *, verified: bool = False
) -> ForwardedCertificate | None:
    return client_certificate(scope(sent, peer), form, verified, PROXIES)


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    token = request_context.client_certificate.set(None)
    yield
    request_context.client_certificate.reset(token)


def present(form: str, value: str) -> certificates.ClientCertificate | None:
    request_context.client_certificate.set(ForwardedCertificate(form, value, verified=False))
    return certificates.presented()


def test_every_format_is_in_every_list() -> None:
    literal = Settings.model_fields["client_certificate_header"].annotation
    assert literal is not None
    (names, _) = literal.__args__
    assert set(names.__args__) == set(HEADER_NAMES) == set(certificates._FORMATS) == set(HEADERS)


@pytest.mark.parametrize("form", HEADERS)
def test_a_certificate_of_each_proxy(form: str) -> None:
    found = read([*headers(ONE, form).items()], form)
    assert found is not None
    request_context.client_certificate.set(found)
    parsed = certificates.presented()
    assert parsed is not None
    assert parsed.der == der(ONE)
    expected = base64.urlsafe_b64encode(sha256(der(ONE)).digest()).rstrip(b"=").decode()
    assert (parsed.thumbprint, len(parsed.thumbprint)) == (expected, 43)


@pytest.mark.parametrize("form", HEADERS)
@pytest.mark.parametrize("peer", ["192.0.2.1", "127.0.0.1", "::1", "11.0.0.1", "", "unix", None])
def test_a_certificate_from_anyone_else_is_ignored(form: str, peer: str | None) -> None:
    assert read([*headers(ONE, form).items()], form, peer) is None


@pytest.mark.parametrize("form", HEADERS)
def test_only_the_header_of_the_setting_is_read(form: str) -> None:
    others = [pair for other in HEADERS if other != form for pair in headers(ONE, other).items()]
    assert read(others, form) is None


def test_several_headers_are_ignored() -> None:
    """A proxy that appends instead of replacing would let a client choose."""
    (pair,) = headers(ONE).items()
    (other,) = headers(certificate()).items()
    for sent in ([pair, other], [other, pair], [pair, pair], [pair, ("client-cert", "")], [("client-cert", ""), pair]):
        assert read(sent) is None


def test_a_long_header_is_ignored() -> None:
    assert read([("client-cert", "A" * (MAX_LENGTH + 1))]) is None


@pytest.mark.parametrize(
    ("form", "verify", "setting", "verified"),
    [
        ("rfc9440", [], True, True),
        ("rfc9440", [], False, False),
        ("rfc9440", ["SUCCESS"], False, False),
        ("nginx", ["SUCCESS"], False, True),
        ("nginx", ["SUCCESS"], True, True),
        ("nginx", ["FAILED:self-signed certificate"], True, False),
        ("nginx", ["NONE"], True, False),
        ("nginx", [], True, False),
        ("nginx", ["SUCCESS", "SUCCESS"], True, False),
        ("nginx", ["success"], True, False),
    ],
)
def test_who_has_verified_it(form: str, verify: list[str], setting: bool, verified: bool) -> None:
    name, value = HEADERS[form]
    sent = [(name, value(ONE)), *(("x-ssl-client-verify", text) for text in verify)]
    found = read(sent, form, verified=setting)
    assert found is not None
    assert found.verified is verified


BASE64 = base64.b64encode(der(ONE)).decode()
PEM = quote(pem(ONE), safe="")
MALFORMED = [
    ("rfc9440", ""),
    ("rfc9440", ":"),
    ("rfc9440", "::"),
    ("rfc9440", BASE64),
    ("rfc9440", f":{BASE64}"),
    ("rfc9440", f":{BASE64}:;a=b"),
    ("rfc9440", f":{BASE64}:, :{BASE64}:"),
    ("rfc9440", f'"{BASE64}"'),
    ("rfc9440", f":{BASE64[:-8]}:"),
    ("rfc9440", f":{BASE64[:40]} {BASE64[40:]}:"),
    ("rfc9440", ":!!!!:"),
    ("rfc9440", ":AAAA:"),
    ("rfc9440", ":\u00e9:"),
    ("nginx", "(null)"),
    ("nginx", BASE64),
    ("nginx", pem(ONE).replace("CERTIFICATE", "PRIVATE KEY")),
    ("nginx", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----"),
    ("nginx", "%"),
    ("nginx", "%ff%fe"),
    ("envoy", f'By=a;Hash=b;Cert="{PEM}",By=a;Hash=b;Cert="{PEM}"'),
    ("envoy", f'Cert="{PEM}";Cert="{PEM}"'),
    ("envoy", "By=a;Hash=b"),
    ("envoy", f'Cert="{PEM}'),
    ("envoy", f'Chain="{PEM}"'),
    ("envoy", ";;;"),
    ("envoy", 'Cert=""'),
    ("envoy", "A=" * 4000),
    ("envoy", '"' * 8000),
    ("traefik", ""),
    ("traefik", ","),
    ("traefik", f",{BASE64}"),
    ("traefik", PEM),
]


@pytest.mark.parametrize(("form", "value"), MALFORMED, ids=[f"{form} {n}" for n, (form, _) in enumerate(MALFORMED)])
def test_a_malformed_certificate_is_none(form: str, value: str) -> None:
    assert present(form, value) is None


@pytest.mark.parametrize("form", HEADERS)
def test_every_cut_and_every_changed_byte(form: str) -> None:
    """No input is an error."""
    value = HEADERS[form][1](ONE)
    for at in range(0, len(value), 7):
        present(form, value[:at])
        present(form, value[:at] + "\x00" + value[at + 1 :])
    for at in range(0, len(der(ONE)), 3):
        changed = bytearray(der(ONE))
        changed[at] ^= 0xFF
        found = present("rfc9440", f":{base64.b64encode(changed).decode()}:")
        # It is never taken for the certificate that it was.
        assert found is None or found.der == bytes(changed)


def test_an_expired_certificate_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """nginx passes one with ssl_verify_client optional_no_ca."""
    expired = certificate(ended=1)
    assert present(*_rfc9440(expired)) is None
    assert present(*_rfc9440(ONE)) is not None
    monkeypatch.setattr(clock, "offset", timedelta(days=60))
    assert present(*_rfc9440(ONE)) is None


def _rfc9440(one: Any) -> tuple[str, str]:
    return "rfc9440", HEADERS["rfc9440"][1](one)
