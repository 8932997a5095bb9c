"""Links from a task to Extend's dashboard."""
