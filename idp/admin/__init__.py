"""Administration: who may do it, its API and its console. Thin; the domains do the work."""
