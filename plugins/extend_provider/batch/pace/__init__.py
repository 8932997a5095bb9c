"""When to ask Extend about a batch: what earlier batches took, and what all waits of a process may ask."""
