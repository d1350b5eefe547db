"""Studies: each compares many runs with one command and prints one table."""
