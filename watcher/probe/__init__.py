"""The conformance probe: does a client program keep its contract? For anybody's program, without the lab or root.

It runs each stack of a client folder in each profile against a control plane on this machine, and says what it finds in
words for the program's author.
"""
