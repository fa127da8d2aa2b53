"""The request body of the containment of an incident."""

from idp.admin.api.models.base import Sent


class Containment(Sent):
    """``disable``: also disable it until an admin enables it."""

    disable: bool = True
