"""DNS records of the From address: SPF (RFC 7208), DKIM (RFC 6376), DMARC (RFC 7489) and MX.

Without them, other mail servers put the codes and links into the spam folder, or refuse them.
"""

import base64
import binascii
from collections.abc import Iterator

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from idp.doctor.models import Context, Finding, Findings, error, note, ok, warning
from idp.doctor.rules import is_public_domain, mail_domain
from idp.infra import dns

#: Lookups that a receiver makes for one SPF record at most (RFC 7208 section 4.6.4).
MAX_LOOKUPS = 10
_LOOKUPS = ("include:", "a", "mx", "ptr", "exists:", "redirect=")
#: Bits of an RSA key (RFC 8301 section 3.2).
MIN_BITS, GOOD_BITS = 1024, 2048


async def check(context: Context) -> Findings:
    """Ask for the records of the domain of IDP_MAIL_FROM."""
    domain = mail_domain(context.settings)
    if context.settings.smtp_url is None or not is_public_domain(domain):
        return
    found: list[Finding] = []
    try:
        found += await _spf(domain)
        for selector in context.settings.mail_dkim_selectors:
            found += await _dkim(domain, selector)
        found += await _dmarc(domain)
        found += await _mx(domain)
    except dns.ResolverError as failure:
        found.append(
            warning(
                "dns_unanswered",
                f"The records of {domain} are not known: {failure.description}",
                "Check the name servers of this machine and of the domain, or set IDP_DNS_RESOLVER.",
            )
        )
    if not context.settings.mail_dkim_selectors:
        found.append(
            note(
                "dkim_selector_unknown",
                "The DKIM record was not checked, because its selector is not known.",
                "Set IDP_MAIL_DKIM_SELECTORS to the selector with which the SMTP server signs.",
            )
        )
    for finding in found:
        yield finding
    if not found:
        yield ok(f"{domain} has SPF, DKIM, DMARC and MX.")


async def _spf(domain: str) -> list[Finding]:
    records = await _spf_records(domain)
    if len(records) != 1:
        return [
            error(
                "spf_missing" if not records else "spf_several",
                f"{domain} has {len(records) or 'no'} SPF records. Receivers accept exactly one.",
                f'Publish one TXT record at {domain}, such as "v=spf1 include:<your SMTP provider> -all".',
            )
        ]
    terms = records[0].lower().split()[1:]
    found = []
    if "+all" in terms or "all" in terms:
        found.append(
            error(
                "spf_allows_all",
                f"The SPF record of {domain} allows every server to send as this domain.",
                "End it with -all or ~all.",
            )
        )
    lookups, broken = await _lookups(domain, set())
    if lookups > MAX_LOOKUPS:
        found.append(
            error(
                "spf_too_many_lookups",
                f"The SPF record of {domain} needs more than {MAX_LOOKUPS} lookups, so receivers ignore it.",
                "Remove includes that are not needed, or name addresses with ip4: and ip6:.",
            )
        )
    found += [
        error(
            "spf_include_broken",
            f"The SPF record of {domain} includes {name[:100]}, which has none, so receivers ignore the whole record.",
            "Correct or remove the include.",
        )
        for name in broken
    ]
    return found


async def _spf_records(domain: str) -> list[str]:
    return [text for text in await dns.txt(domain) if text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")]


async def _lookups(domain: str, seen: set[str]) -> tuple[int, list[str]]:
    """Return how many lookups a record needs, stopping above the limit, and its includes that have no record."""
    seen.add(domain)
    count, broken = 0, list[str]()
    for record in await _spf_records(domain):
        for term in record.lower().split()[1:]:
            name = term.lstrip("+-~?")
            if not name.startswith(_LOOKUPS) or name.startswith("all"):
                continue
            count += 1
            target = name.partition(":")[2] if name.startswith("include:") else name.partition("redirect=")[2]
            if target and "%" not in target and target not in seen and count + len(seen) <= 2 * MAX_LOOKUPS:
                if not await _spf_records(target):
                    broken.append(target)
                more, others = await _lookups(target, seen)
                count, broken = count + more, broken + others
    return count, broken


def _tags(record: str) -> dict[str, str]:
    """Parse ``v=DKIM1; p=…`` (RFC 6376 section 3.2)."""
    pairs = (part.partition("=") for part in record.split(";"))
    return {name.strip().lower(): "".join(value.split()) for name, _, value in pairs if name.strip()}


async def _dkim(domain: str, selector: str) -> list[Finding]:
    name = f"{selector}._domainkey.{domain}"
    records = [tags for text in await dns.txt(name) if "p" in (tags := _tags(text))]
    if len(records) != 1:
        return [
            error(
                "dkim_missing",
                f"There is no DKIM key at {name}, so the signatures of the SMTP server are not valid.",
                "Publish the record that your SMTP provider shows, or correct IDP_MAIL_DKIM_SELECTORS.",
            )
        ]
    return list(_dkim_key(name, records[0]))


def _dkim_key(name: str, tags: dict[str, str]) -> Iterator[Finding]:
    publish = "Publish the key with which the SMTP server signs."
    if not tags["p"]:
        yield error("dkim_revoked", f"The DKIM key at {name} is revoked.", publish)
        return
    try:
        content = base64.b64decode(tags["p"], validate=True)
        key = None if tags.get("k", "rsa") == "ed25519" else load_der_public_key(content)
    except (binascii.Error, ValueError, UnsupportedAlgorithm):
        yield error("dkim_invalid", f"The DKIM key at {name} cannot be read.", f"{publish} Look for missing parts.")
        return
    if isinstance(key, RSAPublicKey) and key.key_size < GOOD_BITS:
        level = error if key.key_size < MIN_BITS else warning
        yield level(
            "dkim_key_short",
            f"The DKIM key at {name} has {key.key_size} bits.",
            f"Sign with a key of {GOOD_BITS} bits.",
        )
    if "y" in tags.get("t", "").split(":"):
        yield note("dkim_testing", f"The DKIM key at {name} is marked as a test.", "Remove t=y from the record.")


async def _dmarc(domain: str) -> list[Finding]:
    """The record of the domain, or else of a domain above it."""
    labels = domain.split(".")
    for start in range(len(labels) - 1):
        name = f"_dmarc.{'.'.join(labels[start:])}"
        records = [text for text in await dns.txt(name) if text.replace(" ", "").lower().startswith("v=dmarc1")]
        if records:
            return list(_dmarc_policy(name, records))
    return [
        warning(
            "dmarc_missing",
            f"{domain} has no DMARC record, so others can send mails in its name, and some receivers refuse yours.",
            f'Publish a TXT record at _dmarc.{domain}: "v=DMARC1; p=quarantine; rua=mailto:postmaster@{domain}".',
        )
    ]


def _dmarc_policy(name: str, records: list[str]) -> Iterator[Finding]:
    policy = _tags(records[0]).get("p", "").lower()
    if len(records) > 1 or policy not in ("none", "quarantine", "reject"):
        yield error(
            "dmarc_invalid",
            f"{name} has {len(records)} DMARC records, or one without a valid p=, so receivers ignore them.",
            'Publish one record, such as "v=DMARC1; p=quarantine".',
        )
    elif policy == "none":
        yield note(
            "dmarc_without_policy",
            f"The DMARC record at {name} has p=none: mails of others in your name are delivered.",
            "When the reports show that your own mails pass, set p=quarantine or p=reject.",
        )


async def _mx(domain: str) -> list[Finding]:
    servers = await dns.mx(domain)
    if servers and servers != ["."] and "" not in servers:
        return []
    return [
        note(
            "mx_missing",
            f"{domain} takes no mail, so reports of failed deliveries get lost, and some receivers refuse its mails.",
            "Publish an MX record, or use an address of a domain that has one in IDP_MAIL_FROM.",
        )
    ]
