"""Commands for a terminal: ``python -m extend_pipeline``."""
