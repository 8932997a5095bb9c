"""Hooks: the only modules of the provider that do I/O."""
