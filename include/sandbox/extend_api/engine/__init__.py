"""The work on runs: in which order, how files get here, how they are read, how runs end."""
