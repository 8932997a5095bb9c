"""The local stack: Airflow, Extend's emulator and S3, started, supervised and stopped together.

Invariants: no process of the stack outlives it, however it ends; it listens only on the loopback interface;
each start begins with an empty home, so that two equal runs give the same result.

The command is ``python -m sandbox.stack --help``; tests use :class:`sandbox.stack.supervisor.Stack`.
"""
