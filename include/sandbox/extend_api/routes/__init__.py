"""The HTTP surface: what every call passes, the routes, and ``/_sandbox``, which steers the emulator."""
