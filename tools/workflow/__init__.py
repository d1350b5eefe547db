"""Plans of many steps, each a command: run, logged, timed, and skipped if complete."""
