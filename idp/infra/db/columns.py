"""The columns of a table by name, for statements that read them all.

``*`` has no place in a prepared statement: a migration that adds a column changes what it returns, and PostgreSQL
refuses every prepared form of it, which poolers keep for long.
"""

from piccolo.table import Table


def all_columns(table: type[Table], alias: str = "") -> str:
    """Every column that this release knows, parted by commas.

    Args:
        alias: of the table in the statement.
    """
    prefix = f"{alias}." if alias else ""
    return ", ".join(f'{prefix}"{column._meta.db_column_name}"' for column in table._meta.columns)
