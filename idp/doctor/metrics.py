"""The listener for Prometheus."""

import ipaddress

from idp.doctor.models import Context, Findings, ok, warning
from idp.doctor.rules import listens_on_loopback
from idp.infra import outbound

SECONDS = 3.0


async def check(context: Context) -> Findings:
    """Fetch the metrics, and see who else can."""
    address = context.settings.metrics_address
    if address is None:
        return
    host, port = address
    if not listens_on_loopback(host):
        yield warning(
            "metrics_exposed",
            f"Metrics are served at {host} port {port}, to everyone who can reach this machine.",
            "Listen on 127.0.0.1, or let a firewall admit only Prometheus.",
        )
    origin = f"http://{_reachable(host)}:{port}"
    try:
        seen = await outbound.observe("GET", f"{origin}/metrics", {}, b"", own=(origin,), timeout_seconds=SECONDS)
    except outbound.CallFailed:
        seen = None
    if seen is None or b"idp_" not in seen.body:
        yield warning(
            "metrics_missing",
            f"There are no metrics of idp at {host} port {port}.",
            "Check that the server runs on this machine with IDP_METRICS_ADDRESS, and that no other program has the "
            "port.",
        )
    elif listens_on_loopback(host):
        yield ok("Metrics are served to this machine.")


def _reachable(host: str) -> str:
    """Return the address at which this machine reaches a listener, as in a URL."""
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return f"[{host}]" if address.version == 6 else host
