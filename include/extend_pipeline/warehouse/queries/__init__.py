"""What the pipeline asks of a warehouse."""
