"""People: reviews at Extend, approvals in Airflow, and ``parts`` with their results for the raw zone."""
