"""Commands of ``python -m extend_pipeline``, a module each; ``options`` has what they share."""
