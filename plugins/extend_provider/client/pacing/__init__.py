"""When a request leaves: each category of requests at the pace that Extend bears, learnt from its answers.

``limits`` is what the hooks use: the limits of a connection, one object for all threads and event loops of a
process. ``level`` decides how many requests there may be, ``turns`` puts them in a line, ``flight`` says how
many of them are open at a time, ``retries`` when one that failed is sent again. ``shares`` divides what
the processes of a machine have learnt among them, ``machine`` keeps it in a file.
"""
