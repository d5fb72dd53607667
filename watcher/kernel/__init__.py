"""What Linux tells any process of its own and its children's TCP sockets, read with the standard library alone.

The soak's supervisor imports this and must stay small, the lab uses it too: nothing here needs privilege or a package.
"""
