"""The report's page: a template with its style and script, and what fills it from a study."""

from dashboards.page.build import GENERATOR, LIMIT, build_page
from dashboards.page.words import counted, size

__all__ = ["GENERATOR", "LIMIT", "build_page", "counted", "size"]
