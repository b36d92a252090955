"""The served page: optuna-dashboard over a storage that is only read."""
