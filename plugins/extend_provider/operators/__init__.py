"""Operators that send documents to Extend."""
