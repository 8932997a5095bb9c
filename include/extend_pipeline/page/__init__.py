"""The page in Airflow: a pipeline's documents, batches at work, cost, dead letters and reviews.

* ``plugin``: what Airflow loads in each of its processes; it imports the rest with the first request
* ``app``: routes, headers, static files; ``access``: who may see what
* ``answers``: the shapes of the answers, which the page in ``static/`` is written against
"""
