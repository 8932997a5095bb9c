"""An S3 on this machine: moto's server as a process of its own (``python -m sandbox.s3``), and its clients.

The server keeps everything in memory, knows one dummy user, and, unlike moto alone, honours the expiry of
presigned URLs and can refuse a bucket.
"""

from sandbox.s3.client import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, airflow_connection, client, seed

__all__ = ["ACCESS_KEY_ID", "REGION", "SECRET_ACCESS_KEY", "airflow_connection", "client", "seed"]
