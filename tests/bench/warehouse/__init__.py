"""Writing to a warehouse, and reading it for the page in Airflow."""
