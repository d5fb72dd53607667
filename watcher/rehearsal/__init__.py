"""The soak's rehearsal: real control planes behind the lab's paths, and in front of each a soak.

Every cluster has a sandbox of its own, so that none shares an address, a kernel table or a fate with another.
``run.py`` is outside and holds their pipes; ``inside.py`` is the first process in each.
"""
