"""Everything the pipeline keeps in files, each with its format.

``workspace`` reads and writes files, ``formats`` gives them versions. ``raw_zone`` keeps runs as Extend
returned them, ``raw_index`` where they have landed, ``kept_parts`` what was collected before.
"""
