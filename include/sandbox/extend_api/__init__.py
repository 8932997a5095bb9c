"""An emulator of the Extend API: it answers requests, processes documents, and can be told to fail.

Start it with ``python -m sandbox.extend_api``; control it through ``/_sandbox/…``.
"""
