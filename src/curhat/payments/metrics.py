"""The metrics of money."""

from typing import Final

from prometheus_client import Counter

CHARGES: Final = Counter(
    "curhat_charges_total",
    "Charges, by the effect of the gateway's answer (see ChargeOutcome), or `unanswered` if none came in time",
    ["effect"],
)
CHARGED_RUPIAH: Final = Counter(
    "curhat_charged_rupiah_total", "Money that the gateway has taken, late charges too"
)
REFUNDS: Final = Counter("curhat_refunds_total", "Refunds, by the status they have reached", ["status"])
REFUNDED_RUPIAH: Final = Counter("curhat_refunded_rupiah_total", "Money that the gateway has given back")
GATEWAY_ALERTS: Final = Counter(
    "curhat_gateway_alerts_total", "Answers of the gateway that an operator must look into, by kind", ["kind"]
)

for _effect in ("confirmed", "declined", "expired", "abandoned", "refunding", "given_up", "unanswered"):
    CHARGES.labels(_effect)
for _status in ("requested", "done", "failed"):
    REFUNDS.labels(_status)
