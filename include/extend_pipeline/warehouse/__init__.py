"""Where documents land: typed tables that can be joined, audited and rebuilt.

A warehouse is an Airflow connection and a dataset (a schema in it). The pipeline opens it, asks what has not
landed yet, and lands parts. No driver is imported before a warehouse is opened.

* ``api``: what the pipeline calls; ``open``: from a connection to a warehouse; ``records``: what is passed
* ``schema/``: tables, columns, names, views and migrations
* ``queries/``: questions and small writes; ``transform/``: from a part of the raw zone to rows
* ``duckdb_file``: a DuckDB file as the warehouse; ``remote/``: what warehouses behind a network share
* ``destinations/``: one module for each kind of warehouse
* ``sql``, ``session``, ``files``: what statements are made of, run on, and read
"""
