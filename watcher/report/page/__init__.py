"""The matrix as one HTML file that needs nothing else: no network, no other file. Pure: values in, text out."""

from watcher.report.page.others import INDEX, PAGES, diff_page, index_page
from watcher.report.page.render import MATRIX_PAGE, page
from watcher.report.page.surroundings import Program, Surroundings

__all__ = ["INDEX", "MATRIX_PAGE", "PAGES", "Program", "Surroundings", "diff_page", "index_page", "page"]
