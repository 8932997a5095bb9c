"""People: reviews at Extend, approvals in Airflow."""
