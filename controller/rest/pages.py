"""All operations of the API."""

from __future__ import annotations

from controller.feed import endpoint
from controller.rest import explain, health, metrics, objects, openapi, receipts, ruleswatch
from controller.rest.operations import Operation

OPERATIONS: tuple[Operation, ...] = (
    *objects.OPERATIONS,
    *receipts.OPERATIONS,
    *ruleswatch.OPERATIONS,
    *explain.OPERATIONS,
    *health.OPERATIONS,
    *metrics.OPERATIONS,
    *openapi.OPERATIONS,
    *endpoint.OPERATIONS,
)
