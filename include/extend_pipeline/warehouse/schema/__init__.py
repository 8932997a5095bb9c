"""The tables, columns and views of a dataset, and how they change."""
