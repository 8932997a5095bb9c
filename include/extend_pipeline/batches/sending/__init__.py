"""What a round of a chunk sends: documents as inputs, checked, and those that are sent again."""
