"""The place and the browser of a sign-in, as text for users."""

import ipaddress
from functools import cache
from typing import TYPE_CHECKING, Any

from idp.infra.i18n import gettext as _
from idp.infra.i18n import locale
from idp.infra.lazy import lazy
from idp.settings import settings

if TYPE_CHECKING:
    import maxminddb
    import ua_parser
else:
    maxminddb, ua_parser = lazy("maxminddb"), lazy("ua_parser")


def device(user_agent: str) -> str:
    """Return browser and system of a User-Agent header, such as ``Firefox on Windows``."""
    found = ua_parser.parse(user_agent)
    browser = found.user_agent.family if found.user_agent else None
    system = found.os.family if found.os else None
    if browser and system:
        return _("%(browser)s on %(system)s", browser=browser, system=system)
    return browser or system or _("An application")


#: Names that a mail may contain. Others may be text from the header, of whoever signed in.
_COMMON = frozenset(
    {"Chrome", "Chrome Mobile", "Chrome Mobile iOS", "Chromium", "HeadlessChrome", "Edge", "Edge Mobile", "Firefox"}
    | {"Firefox Mobile", "Firefox iOS", "Mobile Safari", "Safari", "Opera", "Opera Mobile", "Samsung Internet"}
    | {"Android", "Chrome OS", "Fedora", "iOS", "Linux", "Mac OS X", "Ubuntu", "Windows"}
)


def common_device(user_agent: str) -> str:
    """Like :func:`device`, with well-known names only."""
    found = ua_parser.parse(user_agent)
    families = [part.family for part in (found.user_agent, found.os) if part]
    return device(user_agent) if families and _COMMON.issuperset(families) else _("An unknown browser")


@cache
def _database() -> "maxminddb.Reader | None":
    path = settings().geoip_database
    return maxminddb.open_database(path) if path is not None else None


def place(address: str) -> str:
    """Return the place of an IP address, such as ``Lisbon, Portugal``, or the address itself if it is unknown."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if parsed.is_loopback:
        return _("This computer")
    if parsed.is_private:
        return _("A private network")
    database = _database()
    found = database.get(address) if database is not None else None
    if not isinstance(found, dict):
        return address
    names = [_name(found.get(part)) for part in ("city", "country")]
    return ", ".join(name for name in names if name) or address


def _name(part: Any) -> str:
    names = part.get("names", {}) if isinstance(part, dict) else {}
    # MaxMind names Chinese by its territory.
    language = {"zh-Hans": "zh-CN"}.get(locale.get(), locale.get())
    return str(names.get(language) or names.get("en") or "")
