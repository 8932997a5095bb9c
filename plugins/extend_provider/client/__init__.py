"""Extend's API without I/O and without Airflow tasks.

``endpoints`` writes each endpoint once, as ``calls`` that the hooks send; ``errors`` decides whether a call
was sent and what its end means, ``pacing`` when the next one leaves. ``models`` and
``wire`` are the vocabulary and its form in each API version. ``settings`` and ``validation`` read the
connection and the user's input.
"""
