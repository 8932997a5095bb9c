"""Extend's API without Airflow tasks: settings, endpoints, models, what may be sent again."""
