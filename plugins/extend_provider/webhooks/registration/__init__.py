"""Endpoints at Extend and their secrets, for `airflow extend webhooks`."""
