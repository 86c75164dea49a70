"""The shop: takes orders, has the warehouse reserve each article, takes the money.

    versori-flow run -- python examples/shop/shop.py

Under auto-instrumentation each order is one trace, through both services. `scripts/demo` sends some.
"""

import os
import signal
import sys

import requests
from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

from opentelemetry import trace

app = Flask(__name__)
tracer = trace.get_tracer("shop")

WAREHOUSE = os.environ.get("WAREHOUSE_URL", "http://127.0.0.1:5002")
PRICES = {"apple": 0.4, "pear": 0.6, "plum": 0.25, "telescope": 899.0}
CARD_LIMIT = 500.0


class PaymentDeclinedError(Exception):
    """The card's issuer said no."""


@app.post("/orders")
def order() -> ResponseReturnValue:
    wanted: dict[str, int] = request.get_json()
    span = trace.get_current_span()
    span.set_attributes({"order.articles": list(wanted), "order.size": sum(wanted.values())})
    reserved = {article: n for article, n in wanted.items() if reserve(article, n)}
    total = price(reserved)
    try:
        pay(total)
    except PaymentDeclinedError as refusal:
        return jsonify(error=str(refusal)), 402
    span.add_event("order accepted", {"order.total": total})
    return jsonify(total=total), 201


def reserve(article: str, quantity: int) -> bool:
    """Asks the warehouse; an article that it can't give is left out of the order."""
    answer = requests.post(f"{WAREHOUSE}/reservations/{article}", json={"quantity": quantity}, timeout=5)
    if not answer.ok:
        trace.get_current_span().add_event("article left out", {"article": article, "reason": answer.text})
    return answer.ok


def price(articles: dict[str, int]) -> float:
    with tracer.start_as_current_span("price", attributes={"articles": list(articles)}) as span:
        total = round(sum(PRICES[article] * n for article, n in articles.items()), 2)
        span.set_attribute("total", total)
        return total


def pay(total: float) -> None:
    with tracer.start_as_current_span("pay", attributes={"total": total}):
        if total > CARD_LIMIT:
            raise PaymentDeclinedError(f"{total:.2f} is over the card's limit of {CARD_LIMIT:.2f}")


if __name__ == "__main__":
    # SIGTERM as SystemExit, so that the exit handlers run, and with them the last delivery.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    app.run(port=int(os.environ.get("PORT", "5001")))
