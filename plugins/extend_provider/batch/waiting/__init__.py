"""When to ask Extend about a batch, and what its answer means. What waits share is in ``shared``."""
