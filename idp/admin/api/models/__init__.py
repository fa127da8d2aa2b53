"""Request and response bodies of the admin API. Only these fields enter or leave: no response has a stored secret."""
