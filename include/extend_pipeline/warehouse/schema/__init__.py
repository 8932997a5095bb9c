"""Which tables and columns there are, and how they change."""
