"""The languages and time zones that a profile offers to choose from, in the language of the page.

Others stay valid: an upstream or an import may set any of BCP 47, and any of the time zone database.
"""

import zoneinfo
from datetime import datetime
from functools import cache, lru_cache
from pathlib import Path

import msgspec

from idp import clock
from idp.infra.i18n import LOCALES, cldr, locale
from idp.infra.i18n import gettext as _

#: Languages with many speakers online, by BCP 47 tags, besides those of the pages.
LANGUAGES = frozenset(
    {
        *("af", "am", "ar", "az", "be", "bg", "bn", "bs", "ca", "cs", "cy", "da", "de", "de-AT", "de-CH", "el", "en"),
        *("en-AU", "en-CA", "en-GB", "en-US", "es", "es-MX", "et", "eu", "fa", "fi", "fil", "fr", "fr-CA", "fr-CH"),
        *("ga", "gl", "gu", "he", "hi", "hr", "hu", "hy", "id", "is", "it", "ja", "ka", "kk", "km", "kn", "ko", "lo"),
        *("lt", "lv", "mk", "ml", "mn", "mr", "ms", "mt", "my", "nb", "ne", "nl", "nl-BE", "nn", "pa", "pl", "pt-BR"),
        *("pt-PT", "ro", "ru", "si", "sk", "sl", "sq", "sr", "sv", "sw", "ta", "te", "th", "tr", "uk", "ur", "uz"),
        *("vi", "zh-Hans", "zh-Hant", "zu"),
    }
)

#: Regions of the time zone database by the codes of CLDR for their names. Others have none there.
_REGIONS = {"Africa": "002", "America": "019", "Antarctica": "AQ", "Asia": "142", "Australia": "AU", "Europe": "150"}
_SEAS = frozenset({"Arctic", "Atlantic", "Indian", "Pacific"})


class Zone(msgspec.Struct, frozen=True):
    """A time zone: its name in the database, and the place with its offset from UTC now."""

    name: str
    label: str


@cache
def zone_names() -> tuple[str, ...]:
    """Return the canonical name of the zone of each place, and UTC. There are no aliases such as ``US/Pacific``."""
    for folder in zoneinfo.TZPATH:
        table = Path(folder, "zone.tab")
        if table.is_file():
            rows = (line.split("\t") for line in table.read_text().splitlines() if not line.startswith("#"))
            return ("UTC", *sorted({row[2] for row in rows if len(row) > 2}))
    # A system without the table. The names of places are the best guess.
    names = zoneinfo.available_timezones()
    return ("UTC", *sorted(name for name in names if name.partition("/")[0] in {*_REGIONS, *_SEAS}))


def zones(chosen: str) -> list[tuple[str, list[Zone]]]:
    """Return the zones of each region, by name.

    Args:
        chosen: the zone of the profile, which is offered whatever it is.
    """
    hour = clock.now().replace(minute=0, second=0, microsecond=0)
    found = _zones(locale.get(), hour)
    if chosen and chosen not in zone_names():
        return [("", [Zone(chosen, chosen)]), *found]
    return list(found)


@lru_cache(maxsize=64)
def _zones(language: str, now: datetime) -> tuple[tuple[str, list[Zone]], ...]:
    regions: dict[str, list[Zone]] = {}
    for name in zone_names():
        label = f"{_place(language, name)} ({_offset(name, now)})" if "/" in name else name
        regions.setdefault(_region(language, name.partition("/")[0]), []).append(Zone(name, label))
    for group in regions.values():
        group.sort(key=lambda zone: zone.label)
    return tuple(sorted(regions.items()))


def _region(language: str, region: str) -> str:
    seas = {
        "Arctic": _("Arctic"), "Atlantic": _("Atlantic Ocean"), "Indian": _("Indian Ocean"),
        "Pacific": _("Pacific Ocean"),
    }  # fmt: skip
    return seas.get(region) or str(cldr(language).territories.get(_REGIONS.get(region, ""), ""))


def _place(language: str, name: str) -> str:
    city = cldr(language).time_zones.get(name, {}).get("city")
    return str(city or name.partition("/")[2].replace("_", " ").replace("/", ", ") or name)


def _offset(name: str, now: datetime) -> str:
    offset = now.astimezone(zoneinfo.ZoneInfo(name)).utcoffset()
    minutes = int(offset.total_seconds() // 60) if offset else 0
    sign, (hours, rest) = ("\N{MINUS SIGN}" if minutes < 0 else "+"), divmod(abs(minutes), 60)
    return f"UTC{sign}{hours}:{rest:02}" if rest else f"UTC{sign}{hours}"


def languages(chosen: str) -> list[tuple[str, str]]:
    """Return tags and names of languages, by name.

    Args:
        chosen: the language of the profile, which is offered whatever it is.
    """
    found = list(_languages(locale.get()))
    if chosen and chosen not in dict(found):
        found.insert(0, (chosen, chosen))
    return found


@cache
def _languages(language: str) -> tuple[tuple[str, str], ...]:
    tags = LANGUAGES | {code.replace("_", "-") for code in LOCALES}
    return tuple(sorted(((tag, _language_name(language, tag)) for tag in tags), key=lambda pair: pair[1].casefold()))


def _language_name(language: str, tag: str) -> str:
    spoken = cldr(language)
    base, _dash, part = tag.partition("-")
    name = str(spoken.languages.get(base, base))
    name = name[:1].upper() + name[1:]
    detail = spoken.scripts.get(part) or spoken.territories.get(part)
    return f"{name} ({detail})" if detail else name
