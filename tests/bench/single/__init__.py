"""Single parts without Airflow around them."""
