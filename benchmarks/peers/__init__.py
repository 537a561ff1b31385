"""One script a peer: ``python peers/NAME.py URL FILE``; each runs in an environment that holds nothing but the peer."""
