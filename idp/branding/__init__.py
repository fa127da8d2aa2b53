"""The look of pages and mails: of the server, of applications and of organizations.

What a page shows is resolved field by field: of the organization, of the client, of the server, of the settings. Call
:data:`idp.branding.registry.brands` to resolve it, :mod:`idp.branding.service` to read and change what an owner has
set, and :mod:`idp.branding.stylesheets` for the style sheet. Who may change which branding is decided by the callers.
"""
