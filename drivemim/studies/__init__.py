"""Studies: many runs, one table, one command."""
