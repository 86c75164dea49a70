"""The warehouse: reserves articles for the shop, as long as there are any.

versori-flow run -- python examples/shop/warehouse.py
"""

import os
import signal
import sys
import time

from flask import Flask, request
from flask.typing import ResponseReturnValue

from opentelemetry import trace

app = Flask(__name__)
tracer = trace.get_tracer("warehouse")

stock = {"apple": 500, "pear": 500, "plum": 12, "telescope": 50}


@app.post("/reservations/<article>")
def reserve(article: str) -> ResponseReturnValue:
    quantity: int = request.get_json()["quantity"]
    with tracer.start_as_current_span("look in the shelf", attributes={"article": article}) as span:
        time.sleep(0.002)  # the way to the shelf
        if article not in stock:
            span.set_status(trace.StatusCode.ERROR, f"there is no {article}")
            return f"there is no {article}", 404
        if stock[article] < quantity:
            span.add_event("out of stock", {"left": stock[article], "wanted": quantity})
            return f"only {stock[article]} left", 409
        stock[article] -= quantity
    return "reserved", 201


if __name__ == "__main__":
    # SIGTERM as SystemExit, so that the exit handlers run, and with them the last delivery.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    app.run(port=int(os.environ.get("PORT", "5002")))
