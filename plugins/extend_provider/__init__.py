"""Extend (extend.ai) for Apache Airflow: connection, hooks, operators, sensor, triggers.

Nothing is imported here: Airflow reads the provider's information early in its own start.
"""

__version__ = "0.1.0"
