"""``python -m sandbox.s3 --port N``: serve S3 until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse

from sandbox.s3.server import serve


def main() -> None:
    """Serve, and print one line with the URL when ready."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.s3", description="An S3 in memory (moto).")
    parser.add_argument("--host", default="127.0.0.1", help="interface to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port; 0 for any free one (default)")
    parser.add_argument(
        "--forbid",
        action="append",
        default=[],
        metavar="BUCKET",
        help="answer 403 to every request for this bucket; may be repeated",
    )
    arguments = parser.parse_args()
    serve(
        arguments.host,
        arguments.port,
        forbidden_buckets=arguments.forbid,
        on_ready=lambda url: print(f"S3 ready on {url}", flush=True),
    )


if __name__ == "__main__":
    main()
