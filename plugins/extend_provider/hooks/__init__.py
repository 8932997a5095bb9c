"""The hooks, sync and async, with their transports: the only modules of the provider that do I/O.

``extend`` and ``extend_async`` hold the hooks, ``methods`` what they share; ``network`` finds proxy and
certificates; ``requests_transport``, ``aiohttp_transport`` and ``multipart`` send; ``diagnosis`` is for the
Test button.
"""
