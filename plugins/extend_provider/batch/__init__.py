"""The life of a batch at Extend: sent once, followed, cancelled only by its owner."""
