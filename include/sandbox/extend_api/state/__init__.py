"""The state of the emulator: runs, files, counted requests, and remaining faults and limits."""
