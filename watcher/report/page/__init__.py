"""The matrix as one HTML file that needs nothing else: no network, no other file. Pure: values in, text out."""

from watcher.report.page.render import MATRIX_PAGE, page
from watcher.report.page.surroundings import Program, Surroundings

__all__ = ["MATRIX_PAGE", "Program", "Surroundings", "page"]
