"""Bounds of what callers may ask for, as one value that the settings fill in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """``max_active_runs`` counts a user's runs that have not ended; a start beyond it answers 429.

    ``request_id_kept`` is how long starting with the same action ``request_id`` answers with the same run.
    """

    max_body_bytes: int = 1024 * 1024
    max_definition_bytes: int = 512 * 1024
    max_schema_bytes: int = 256 * 1024
    max_input_bytes: int = 256 * 1024
    max_active_runs: int = 1_000
    retry_after_s: int = 10
    max_role_principals: int = 16
    max_keywords: int = 1_024
    max_tags: int = 64
    max_tag_chars: int = 128
    max_batch_runs: int = 100
    page_default: int = 20
    page_max: int = 100
    log_page_default: int = 10
    log_page_max: int = 100
    max_query_chars: int = 4_096
    max_marker_chars: int = 10_000
    idempotency_key_kept: timedelta = timedelta(hours=24)
    request_id_kept: timedelta = timedelta(days=30)
