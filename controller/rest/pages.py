"""All operations of the API."""

from __future__ import annotations

from controller.rest import explain, feed, health, live, metrics, objects, openapi, receipts, ruleswatch, ui
from controller.rest.operations import Operation

OPERATIONS: tuple[Operation, ...] = (
    *objects.OPERATIONS,
    *receipts.OPERATIONS,
    *ruleswatch.OPERATIONS,
    *explain.OPERATIONS,
    *live.OPERATIONS,
    *ui.OPERATIONS,
    *health.OPERATIONS,
    *metrics.OPERATIONS,
    *openapi.OPERATIONS,
    *feed.OPERATIONS,
)
