"""The HTTP edge: what every page and endpoint shares."""
