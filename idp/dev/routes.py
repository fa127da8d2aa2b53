"""Every route that exists in development mode only."""

from idp.dev import demo, mailbox, start

ROUTES = [*start.ROUTES, *demo.ROUTES, *mailbox.ROUTES]
