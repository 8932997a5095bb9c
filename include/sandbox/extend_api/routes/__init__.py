"""The HTTP interface: request checks, the API endpoints, and ``/_sandbox`` to control the emulator."""
