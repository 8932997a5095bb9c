"""Sensors that wait for Extend."""
