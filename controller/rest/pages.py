"""All operations of the API."""

from __future__ import annotations

from controller.rest import explain, feed, health, metrics, objects, openapi, receipts, ruleswatch
from controller.rest.operations import Operation

OPERATIONS: tuple[Operation, ...] = (
    *objects.OPERATIONS,
    *receipts.OPERATIONS,
    *ruleswatch.OPERATIONS,
    *explain.OPERATIONS,
    *health.OPERATIONS,
    *metrics.OPERATIONS,
    *openapi.OPERATIONS,
    *feed.OPERATIONS,
)
