"""The work on runs: their order, their files, the steps they go through, and how they end."""
