"""DNS records and SMTP servers that keep mails from arriving, each found and named."""

import base64
import secrets
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from idp.doctor.models import Finding, Level, Needs
from tests.mail.conftest import PASSWORD, USERNAME, Certificate, StartSMTP
from tests.support.examinations import named, one, run
from tests.support.nameserver import Nameserver
from tests.support.server import free_port

LOGIN = "post%40example.com:p%40ss%3Aw%2Frd@"


def dkim(bits: int = 2048, more: str = "") -> str:
    """Return a record with a new key."""
    key = rsa.generate_private_key(65537, bits).public_key()
    content = base64.b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    return f"v=DKIM1; k=rsa; {more}p={content}"


#: A key that is generated once, because that takes time.
KEY = dkim()
#: More lookups than allowed.
MANY = " ".join(f"a:h{number}.example" for number in range(11))


class Domain:
    """A domain whose records are as they should be."""

    def __init__(self, nameserver: Nameserver) -> None:
        self.name = f"{secrets.token_hex(6)}.example"
        self.nameserver = nameserver
        self.txt("", "v=spf1 ip4:192.0.2.1 -all")
        self.txt("s1._domainkey.", KEY)
        self.txt("_dmarc.", "v=DMARC1; p=reject")
        nameserver.mail_servers[self.name] = [f"20 b.{self.name}.", f"10 a.{self.name}."]

    def txt(self, prefix: str, *records: str) -> None:
        self.nameserver.records[prefix + self.name] = list(records)

    async def check(self, **settings: Any) -> list[Finding]:
        given = {
            "smtp_url": "smtp://mail.example.com",
            "mail_from": f"Example <no-reply@{self.name}>",
            "mail_dkim_selectors": "s1",
        }
        return await run("mail_dns", provides=Needs.SETTINGS, **(given | settings))


@pytest.fixture
def domain(nameserver: Nameserver) -> Domain:
    return Domain(nameserver)


async def test_sound_records_have_no_finding(domain: Domain) -> None:
    findings = await domain.check()
    assert named(findings) == set()
    assert [finding.level for finding in findings] == [Level.OK]
    assert await domain.check(smtp_url=None) == []


@pytest.mark.parametrize(
    ("prefix", "records", "name", "level", "mend"),
    [
        ("", [], "spf_missing", Level.ERROR, "v=spf1 include:"),
        ("", ["v=spf1 -all", "v=spf1 mx -all"], "spf_several", Level.ERROR, "one TXT record"),
        ("", ["v=spf1 +all"], "spf_allows_all", Level.ERROR, "-all or ~all"),
        ("", ["v=spf1 all"], "spf_allows_all", Level.ERROR, "-all or ~all"),
        ("", ["v=spf1 include:gone.example -all"], "spf_include_broken", Level.ERROR, "include"),
        ("", [f"v=spf1 {MANY} -all"], "spf_too_many_lookups", Level.ERROR, "ip4:"),
        ("s1._domainkey.", [], "dkim_missing", Level.ERROR, "SMTP provider"),
        ("s1._domainkey.", ["v=DKIM1; p="], "dkim_revoked", Level.ERROR, "Publish the key"),
        ("s1._domainkey.", ["v=DKIM1; p=AAAA"], "dkim_invalid", Level.ERROR, "missing parts"),
        ("s1._domainkey.", ["v=DKIM1; p=%"], "dkim_invalid", Level.ERROR, "missing parts"),
        ("s1._domainkey.", [dkim(1024)], "dkim_key_short", Level.WARNING, "2048"),
        ("s1._domainkey.", [KEY.replace("p=", "t=y; p=")], "dkim_testing", Level.NOTE, "t=y"),
        ("_dmarc.", [], "dmarc_missing", Level.WARNING, "v=DMARC1"),
        ("_dmarc.", ["v=DMARC1; p=maybe"], "dmarc_invalid", Level.ERROR, "one record"),
        ("_dmarc.", ["v=DMARC1; p=none"], "dmarc_without_policy", Level.NOTE, "p=quarantine"),
    ],
)  # fmt: skip
async def test_wrong_records(
    domain: Domain, prefix: str, records: list[str], name: str, level: Level, mend: str
) -> None:
    domain.txt(prefix, *records)
    findings = await domain.check()
    assert named(findings) == {(name, level)}
    assert mend in one(findings, name).mend


async def test_includes_are_counted_through(domain: Domain) -> None:
    domain.txt("", f"v=spf1 include:a.{domain.name} -all")
    domain.txt("a.", f"v=spf1 {' '.join(f'a:h{n}.example' for n in range(9))} include:a.{domain.name} -all")
    assert named(await domain.check()) == {("spf_too_many_lookups", Level.ERROR)}


async def test_a_domain_that_takes_no_mail(domain: Domain) -> None:
    for servers in ([], ["0 ."]):
        domain.nameserver.mail_servers[domain.name] = servers
        assert named(await domain.check()) == {("mx_missing", Level.NOTE)}


async def test_a_policy_of_the_domain_above(domain: Domain, nameserver: Nameserver) -> None:
    below = f"mail.{domain.name}"
    nameserver.records |= {below: ["v=spf1 -all"], f"s1._domainkey.{below}": [KEY]}
    nameserver.mail_servers[below] = ["10 a.example."]
    assert named(await domain.check(mail_from=f"no-reply@{below}")) == set()


async def test_a_selector_that_is_not_known(domain: Domain) -> None:
    findings = await domain.check(mail_dkim_selectors="")
    assert named(findings) == {("dkim_selector_unknown", Level.NOTE)}
    assert "IDP_MAIL_DKIM_SELECTORS" in one(findings, "dkim_selector_unknown").mend


async def test_a_name_server_that_fails(domain: Domain, nameserver: Nameserver) -> None:
    nameserver.failing.add(domain.name)
    findings = await domain.check()
    assert named(findings) == {("dns_unanswered", Level.WARNING)}
    assert "IDP_DNS_RESOLVER" in one(findings, "dns_unanswered").mend


# SMTP


async def check(url: str, **options: Any) -> list[Finding]:
    return await run("smtp", provides=Needs.SETTINGS, smtp_url=url, mail_from="no-reply@example.com", **options)


async def test_a_sound_server_has_no_finding(
    start_smtp: StartSMTP, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))
    inbox = await start_smtp(tls_context=certificate.context)
    findings = await check(f"smtp://{LOGIN}localhost:{inbox.port}")
    assert [finding.level for finding in findings] == [Level.OK]
    assert "and the password" in findings[0].text
    assert inbox.logins == [(USERNAME.encode(), PASSWORD.encode())]
    assert inbox.envelopes == []


async def test_nothing_listens() -> None:
    findings = await check(f"smtp://localhost:{free_port()}")
    assert named(findings) == {("smtp_unreachable", Level.ERROR)}
    assert "port 25" in one(findings, "smtp_unreachable").mend


async def test_no_tls(start_smtp: StartSMTP) -> None:
    inbox = await start_smtp(auth_require_tls=False)
    findings = await check(f"smtp://localhost:{inbox.port}?starttls=require")
    assert named(findings) == {("smtp_tls_failed", Level.ERROR)}
    assert named(await check(f"smtp://{LOGIN}localhost:{inbox.port}")) == {("smtp_not_encrypted", Level.WARNING)}
    assert named(await check(f"smtp://localhost:{inbox.port}")) == set()


async def test_a_certificate_that_is_not_trusted(start_smtp: StartSMTP, certificate: Certificate) -> None:
    inbox = await start_smtp(tls_context=certificate.context)
    findings = await check(f"smtp://localhost:{inbox.port}")
    assert named(findings) == {("smtp_tls_failed", Level.ERROR)}
    assert "valid certificate" in one(findings, "smtp_tls_failed").mend


async def test_a_wrong_password(
    start_smtp: StartSMTP, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))
    inbox = await start_smtp(tls_context=certificate.context)
    findings = await check(f"smtp://post:wrong-horse@localhost:{inbox.port}")
    assert named(findings) == {("smtp_login_refused", Level.ERROR)}
    assert "@ as %40" in one(findings, "smtp_login_refused").mend
    assert "wrong-horse" not in str(findings)


async def test_a_test_mail(start_smtp: StartSMTP) -> None:
    inbox = await start_smtp()
    findings = await check(f"smtp://localhost:{inbox.port}", send_test="ada@example.com")
    assert named(findings) == {("test_mail_sent", Level.NOTE)}
    (envelope,) = inbox.envelopes
    assert envelope.rcpt_tos == ["ada@example.com"]
    refusing = await start_smtp(data_size_limit=10)
    findings = await check(f"smtp://localhost:{refusing.port}", send_test="ada@example.com")
    assert named(findings) == {("test_mail_refused", Level.ERROR)}
