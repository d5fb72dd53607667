"""Connections that say nothing: what becomes of them on a path, and who keeps a program's own quiet one alive."""
