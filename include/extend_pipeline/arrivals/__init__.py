"""Arrivals: documents that S3 announces by event notification start a run.

A queue (SQS) receives the notifications; the trigger of an asset watcher writes the addresses into the
workspace, and its asset event starts the DAG; the run takes every bundle that no other run works on.
"""
