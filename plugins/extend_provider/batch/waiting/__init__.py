"""When to poll Extend about a batch, and what its answer means."""
