"""How administrators change the status of a stream: one list for the admin API, the console and the command line."""

from typing import Final, NamedTuple


class StatusChange(NamedTuple):
    """A change of the status.

    Attributes:
        name: the name of the operation, the action and the command.
        status: the status afterwards (Shared Signals Framework section 8.1.2).
        help: one line for all of them.
    """

    name: str
    status: str
    help: str


CHANGES: Final = (
    StatusChange("pause", "paused", "Events are kept until the stream is resumed."),
    StatusChange("resume", "enabled", "Events are sent again, and those that were kept while it was paused."),
    StatusChange("disable", "disabled", "Events are dropped, and those that wait are given up."),
)
