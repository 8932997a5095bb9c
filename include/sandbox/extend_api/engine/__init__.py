"""Processing of runs: their order, files, steps and outcomes."""
