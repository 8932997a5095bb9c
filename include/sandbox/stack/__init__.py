"""The local stack: Airflow with the stand-ins of the outside world, started, supervised and stopped as one.

Invariants: nothing that it starts outlives it, however it ends; it listens on the loopback interface only;
and each start begins from nothing, so that two runs of the same thing give the same result.

``python -m sandbox.stack --help`` is the command, :class:`sandbox.stack.supervisor.Stack` the same for tests.
"""
