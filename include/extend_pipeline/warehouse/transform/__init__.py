"""From a part of the raw zone to rows."""
