"""The studio: where a marketer sees what somebody would get, why, and what came of it; and stops what must not go on.

Server-rendered and without a script. Only in an admin session; nothing that is looked at leaves a trace.
"""

from __future__ import annotations

from serving.web.studio.studio import routes

__all__ = ["routes"]
