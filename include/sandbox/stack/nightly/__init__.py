"""The nightly run from end to end: its progress, a check of what has landed, and a report."""
