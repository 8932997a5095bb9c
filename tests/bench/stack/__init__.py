"""What is measured in a running Airflow, with Extend's emulator and S3 beside it."""
