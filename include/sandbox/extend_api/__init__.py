"""An emulator of the Extend API: a process that speaks its wire, does its work, and can be told to misbehave.

Start it with ``python -m sandbox.extend_api``; steer it through ``/_sandbox/…``.
"""
