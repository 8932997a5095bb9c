"""What warehouses on the other side of a network share."""
