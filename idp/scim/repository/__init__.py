"""The statements of SCIM: on its own tables, and the search in users and groups."""
