"""The served page: optuna-dashboard over a storage that is only read."""

from dashboards.server.serve import ADDRESS, listen, make_app

__all__ = ["ADDRESS", "listen", "make_app"]
