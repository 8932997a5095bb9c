"""One module per warehouse that documents land in."""
