"""Versions of a chain that answer on this machine, and a scripted cluster that runs them."""

from services.scripted_versions import first, make_place, make_version, place, second

__all__ = ["first", "make_place", "make_version", "place", "second"]
