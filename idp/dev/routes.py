"""The routes of development mode."""

from idp.dev import ciba, demo, mailbox, start
from idp.infra import i18n

ROUTES = [*start.ROUTES, *demo.ROUTES, *mailbox.ROUTES, *ciba.ROUTES]
for _route in ROUTES:
    # These pages are for developers, and are not translated.
    _route.opt["language"] = i18n.SOURCE
