"""The statements on provisioning targets: one module for each table, or for two with the same columns."""
