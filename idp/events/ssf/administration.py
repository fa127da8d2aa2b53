"""Streams as administrators see them, in the admin API, the console and the command line."""

from collections.abc import Mapping
from typing import Any

import msgspec

from idp.events.models import ManagedStream
from idp.infra.db.rows import one
from idp.settings import settings


def read(row: Mapping[str, Any]) -> ManagedStream:
    """Convert a row of :data:`idp.events.ssf.repository.STREAMS`."""
    values = {**row, "events_requested": msgspec.json.decode(row["events_requested"])}
    if settings().shared_signals_subjects == "all":
        values["subjects"] = None
    found = one(ManagedStream, values)
    assert found is not None  # noqa: S101 -- there is a row
    return found
