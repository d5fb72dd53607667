"""Servers to hold a connection open to, on any machine: no lab, nothing beyond the standard library.

``watcher serve`` runs them for people; the lab runs the same program in a namespace of its own.
"""
