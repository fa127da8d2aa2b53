"""The routes of development mode."""

from idp.dev import demo, mailbox, start
from idp.infra import i18n

ROUTES = [*start.ROUTES, *demo.ROUTES, *mailbox.ROUTES]
for _route in ROUTES:
    # These pages are for developers, and are not translated.
    _route.opt["language"] = i18n.SOURCE
