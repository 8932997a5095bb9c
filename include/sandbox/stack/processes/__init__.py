"""Processes that never outlive their owner: started, watched, asked to end, killed; and their ports."""
