"""The workspace and the raw zone: everything the pipeline keeps in files, each with its version."""
