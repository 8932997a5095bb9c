"""The life of a batch at Extend: sent once or refused, followed, cancelled only by its owner."""
