"""What landing costs, beside the barest SQL that does a part of the same: ``make bench``."""
