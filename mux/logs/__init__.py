"""Log lines: their form, and a writer that never waits."""
