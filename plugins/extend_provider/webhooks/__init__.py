"""Webhooks of Extend: received, verified, and kept in an inbox until their batch has landed."""
