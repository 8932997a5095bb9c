"""From a part of the raw zone to rows: parsed into files, which SQL takes apart in one transaction."""
