"""Plain data to JSON responses."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

from web.problems import displayable


def json_answer(document: Any, status: int = 200) -> Response:
    """`document` as JSON. Texts that come from file names may hold lone surrogates, which UTF-8 cannot."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(
        displayable(text).encode("utf-8"),
        status,
        media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
