"""The statements on groups, roles and who has them."""
