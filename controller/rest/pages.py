"""All operations of the API."""

from __future__ import annotations

from controller.feed import endpoint
from controller.rest import health, objects, receipts
from controller.rest.operations import Operation

OPERATIONS: tuple[Operation, ...] = (
    *objects.OPERATIONS,
    *receipts.OPERATIONS,
    *health.OPERATIONS,
    *endpoint.OPERATIONS,
)
