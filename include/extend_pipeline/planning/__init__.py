"""What is to be sent, in which chunks, at what cost."""
