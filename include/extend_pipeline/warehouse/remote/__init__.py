"""What warehouses behind a network share: a part lands in DuckDB, and its rows are copied."""
