"""What happened, to whom, by whom."""
