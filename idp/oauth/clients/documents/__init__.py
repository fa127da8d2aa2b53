"""Clients whose ``client_id`` is the URL of a document with their metadata (Client ID Metadata Document).

draft-ietf-oauth-client-id-metadata-document-01. Such a client is used through :mod:`idp.oauth.clients.lookup`, like any
other. It has a row from the first consent of a user; before that, it is in the memory of a worker only
(docs/decisions/0058-clients-by-document.md).
"""
