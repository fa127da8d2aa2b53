"""Settings that contradict each other, or that are dangerous together."""

import ipaddress
import os

from idp.doctor import exposed_settings, useless_settings
from idp.doctor.models import Context, Finding, Findings, error, note, ok, warning
from idp.errors import OperatorError
from idp.mail import smtp
from idp.oauth.clients.dynamic import ceiling
from idp.settings import Settings

RULES = (*useless_settings.RULES, *exposed_settings.RULES)


async def check(context: Context) -> Findings:
    """Compare the settings with each other."""
    found = [rule.finding for rule in RULES if rule.holds(context.settings)]
    found += [*_mail(context.settings), *_registration(context.settings), *_networks(context.settings)]
    found += _capacity(context.settings)
    for finding in found:
        yield finding
    if not found:
        yield ok("No settings contradict each other.")


def _mail(settings: Settings) -> list[Finding]:
    if settings.smtp_url is None:
        return []
    try:
        options = smtp.connection_options(settings.smtp_url.get_secret_value())
    except OperatorError as failure:
        return [error("smtp_url_malformed", failure.description, "Set IDP_SMTP_URL to such a URL.")]
    plain = not options["use_tls"] and options.get("start_tls") is False
    if plain and "password" in options:
        return [
            error(
                "smtp_password_in_plain",
                "IDP_SMTP_URL has a password and starttls=never, so the password is sent without encryption.",
                "Remove starttls=never from IDP_SMTP_URL, or use smtps://.",
            )
        ]
    return []


def _registration(settings: Settings) -> list[Finding]:
    problems = ceiling.problems(settings) if settings.client_registration != "off" else []
    return [
        error("registration_ceiling_invalid", problem, "Correct the list, or remove the setting for its default.")
        for problem in problems
    ]


def _networks(settings: Settings) -> list[Finding]:
    """Networks that are so wide that the check of an address means nothing."""
    found = []
    if any(network.prefixlen == 0 for network in settings.trusted_proxies):
        found.append(
            error(
                "trusts_every_proxy",
                "IDP_TRUSTED_PROXIES contains all addresses: every client can choose its address in X-Forwarded-For, "
                "and with it escapes the limits of attempts.",
                "Name the addresses of your reverse proxies only, such as 10.0.3.0/24.",
            )
        )
    wide = [text for text in settings.outbound_allowed_hosts if _contains_metadata_service(text)]
    if wide:
        found.append(
            warning(
                "outbound_to_metadata_service",
                f"IDP_OUTBOUND_ALLOWED_HOSTS allows calls to 169.254.169.254 ({', '.join(wide)}), where clouds give "
                "credentials to their machines. A client that names a URL could reach it.",
                "Allow the hosts or the small networks that idp has to call.",
            )
        )
    return found


def _contains_metadata_service(text: str) -> bool:
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        return False
    return network.version == 4 and ipaddress.ip_address("169.254.169.254") in network


def _capacity(settings: Settings) -> list[Finding]:
    cpus = len(os.sched_getaffinity(0))
    if settings.workers <= cpus * 2:
        return []
    return [
        note(
            "more_workers_than_cpus",
            f"IDP_WORKERS is {settings.workers}, and this machine lets the process use {cpus} CPUs.",
            "More workers than CPUs need memory and connections to PostgreSQL, and answer no faster.",
        )
    ]
