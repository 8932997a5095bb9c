"""The inbox: events of runs, read without trusting them, kept whole, once and durable."""
