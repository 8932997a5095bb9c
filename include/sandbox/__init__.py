"""What stands in for the outside world on one machine; reached over HTTP only, like the real thing."""
