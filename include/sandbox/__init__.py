"""Emulators of the outside world on one machine, reached only over HTTP, like the real services."""
