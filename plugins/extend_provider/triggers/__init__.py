"""Triggers that wait for Extend without a worker slot."""
