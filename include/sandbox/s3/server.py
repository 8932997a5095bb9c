"""The S3 server: moto behind the checks that AWS makes and moto does not."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Collection

from sandbox.s3.admin import Admin
from sandbox.s3.checks.access import AccessChecks
from sandbox.s3.checks.rules import Rules
from sandbox.s3.checks.signatures import Signatures
from sandbox.s3.client import ACCESS_KEY_ID, SECRET_ACCESS_KEY
from sandbox.s3.listing import Listings
from sandbox.s3.queues import Queues, make_queues_thread_safe


def serve(
    host: str, port: int, *, forbidden_buckets: Collection[str] = (), on_ready: Callable[[str], None] = print
) -> None:
    """Serve S3 and its queues until SIGTERM or SIGINT, then return. Call it in the main thread.

    :param port: 0 for any free one.
    :param on_ready: called with the URL as soon as the server accepts requests.
    """
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    # The access log would contain presigned URLs.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    make_queues_thread_safe()
    rules = Rules()
    moto = DomainDispatcherApplication(create_backend_app)
    signatures = Signatures(ACCESS_KEY_ID, SECRET_ACCESS_KEY)
    s3 = AccessChecks(Listings(moto, rules), signatures, rules, forbidden_buckets)
    app = Admin(Queues(s3, moto, signatures), rules)
    server = make_server(host, port, app, threaded=True, request_handler=MotoRequestHandler)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    thread = threading.Thread(target=server.serve_forever, name="s3", daemon=True)
    thread.start()
    on_ready(f"http://{host}:{server.server_port}")
    stop.wait()
    server.shutdown()
    server.server_close()
