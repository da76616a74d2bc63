"""What every process of Simway stands on: the log, SQLite, settings, metrics and ``run_service``."""

from __future__ import annotations

from simway_backbone.log_url import open_log

__all__ = ["open_log"]
