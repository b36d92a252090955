"""The report's page: a template with its style and script, and what fills it from a study."""
