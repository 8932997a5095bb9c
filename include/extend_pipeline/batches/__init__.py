"""A chunk on its way: what it sends, as which batch, and what came of it.

``ledger`` records submissions, ``reservations`` who owns a chunk, ``chunk_state`` its rounds. ``sending``
makes what is sent, and decides what is sent again, on the facts that ``evidence`` keeps; ``collection``
writes settled runs into the raw zone.
"""
