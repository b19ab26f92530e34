"""The metrics of payments."""

from prometheus_client import Counter

GATEWAY_ALERTS = Counter(
    "curhat_gateway_alerts_total", "Answers of the gateway that an operator must look into, by kind", ["kind"]
)
