"""Webhooks: who listens to which events, and the signed deliveries of them."""
