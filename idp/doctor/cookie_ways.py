"""Cookies on their way through the proxies, there and back."""

from collections.abc import Iterator

from idp.doctor import visits
from idp.doctor.models import Context, Finding, Findings, error, ok
from idp.infra import outbound
from idp.keys import vault

_MEND = (
    "Let the proxy pass Set-Cookie and Cookie unchanged. In nginx, remove proxy_cookie_path and proxy_cookie_domain."
)


async def check(context: Context) -> Findings:
    """Get a cookie with the prefix `__Host-`, and send it back."""
    try:
        visit = await visits.visit(context.settings)
        if visit.arrival is None:
            return  # the check of the proxy says why
        problems = [*_set(visit.seen.all("set-cookie"), visit.arrival.cookie)]
        pair = visit.arrival.cookie.partition(";")[0]
        again = await visits.visit(context.settings, headers={"Cookie": pair})
    except (vault.SecretsError, outbound.CallFailed):
        return  # so do the checks of the proxy and the issuer
    if again.arrival is not None and again.arrival.returned != pair.partition("=")[2]:
        problems.append(
            error(
                "cookies_not_returned",
                "A cookie that a browser sends does not arrive at the server, so no one can sign in.",
                _MEND,
            )
        )
    for finding in problems:
        yield finding
    if not problems:
        yield ok("Cookies are set and returned unchanged.")


def _set(arrived: list[str], sent: str) -> Iterator[Finding]:
    name = sent.partition("=")[0]
    ours = [text for text in arrived if text.partition("=")[0].strip() == name]
    if not ours:
        yield error("cookies_lost", f"The cookie {name} that the server sets does not arrive.", _MEND)
        return
    before, after = _attributes(sent), _attributes(ours[0])
    if before != after:
        changes = ", ".join(sorted({text.partition("=")[0] for text in before ^ after}))
        yield error(
            "cookies_changed",
            f"The proxy changes cookies ({changes}). Browsers refuse __Host- cookies without Secure and Path=/, and "
            "with a Domain.",
            _MEND,
        )


def _attributes(cookie: str) -> set[str]:
    return {part.strip().lower() for part in cookie.split(";")[1:]} | {cookie.partition(";")[0]}
