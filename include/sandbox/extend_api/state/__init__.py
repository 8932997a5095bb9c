"""What the emulator keeps: runs, steps and files, and what came of which call."""
