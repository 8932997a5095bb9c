"""What Airflow runs: task groups and thin tasks. Decisions are made elsewhere."""
