"""`flow("name")`: what is begun below it belongs to that flow.

The name is a value of OpenTelemetry's context, and goes where that goes: into tasks, and into threads where the
context is handed over; never into another process, as it is no baggage. A processor writes it onto each span that
is begun with it in its context.
"""

from __future__ import annotations

import functools
import inspect
import threading
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType
from typing import Any, TypeVar, cast

from opentelemetry.context import Context, attach, create_key, get_current, get_value, set_value
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider

from opentelemetry import trace

from .encoding.span import FLOW_NAME_ATTRIBUTE

_Function = TypeVar("_Function", bound=Callable[..., Any])

_NAME = create_key("versori-flow-name")
# By context: one scope may be entered in several threads and tasks, and in itself. With the context outside it,
# instead of a token, which only the context that it is of takes back: generators are left in any, and in any order.
# Weak: of one that was left elsewhere nothing else remains.
_entered: ContextVar[tuple[tuple[weakref.ref[FlowScope], Context], ...]] = ContextVar(
    "versori_flow_entered", default=()
)
_equipped: weakref.ref[TracerProvider] | None = None
_equipping: set[int] = set()


def flow(name: str) -> FlowScope:
    """Makes all spans that are begun below it belong to one flow.

    As a context manager, and as a decorator of functions and of coroutine functions::

        with flow("orders"):
            ...

        @flow("orders")
        async def handle(order): ...

    A span that sets `versori.flow.name` itself, when it is begun or later, belongs to that flow; an inner `flow`
    wins over an outer one. A thread that is started in it has the flow only if it has the context, as by
    `contextvars.copy_context().run` or `opentelemetry-instrumentation-threading`. It may be left in another context
    than it was entered in, as frameworks do with generators.

    The global provider needs nothing for it, whatever its processors are: the first use adds a
    `FlowNameProcessor` to it. Another provider needs a `VersoriFlowSpanProcessor`, or one of those.

    Args:
        name: The flow's name, as people read it. An empty one is none: the setting `flow_name` decides.

    Raises:
        TypeError: The name is no text; or what is decorated is a generator function, whose spans between two
            yields are begun in its caller's context: write `with flow(...)` in there, around what has no yield.
    """
    if not isinstance(name, str):
        raise TypeError('flow() takes the name of a flow: write flow("name"), as a decorator too')
    return FlowScope(name)


class FlowScope:
    """What `flow` returns: to be entered by `with`, or called to decorate a function. It may be used again.

    Args:
        name: The flow's name.
    """

    __slots__ = ("__weakref__", "_name")

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        _equip_global_provider()
        outer = get_current()
        attach(set_value(_NAME, self._name))
        _entered.set((*_under_way(), (weakref.ref(self), outer)))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        entered = _under_way()
        places = [place for place, (scope, _) in enumerate(entered) if scope() is self]
        if not places:
            return
        _, outer = entered.pop(places[-1])
        following = entered[places[-1] :]
        if following:  # it goes on, and leads back to where this one would have
            scope, context = following[0]
            entered[places[-1]] = scope, set_value(_NAME, get_value(_NAME, outer), context)
        else:
            attach(outer)
        _entered.set(tuple(entered))

    def __call__(self, function: _Function) -> _Function:
        """Decorates a function: each call of it is within the flow."""
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"flow({self._name!r}) can't decorate the generator {function.__qualname__}: write"
                " `with flow(...)` in it, around what has no yield"
            )
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def asynchronous(*args: Any, **keywords: Any) -> Any:
                with self:
                    return await function(*args, **keywords)

            return cast("_Function", asynchronous)

        @functools.wraps(function)
        def synchronous(*args: Any, **keywords: Any) -> Any:
            with self:
                return function(*args, **keywords)

        return cast("_Function", synchronous)


def _under_way() -> list[tuple[weakref.ref[FlowScope], Context]]:
    """What was entered in this context, without what was left in another one: nothing holds that any more."""
    return [(scope, outer) for scope, outer in _entered.get() if scope() is not None]


class FlowNameProcessor(SpanProcessor):
    """Gives each span that is begun in a `flow` its name; `VersoriFlowSpanProcessor` is one.

    For a provider that is not the global one and has other processors, such as the SDK's `BatchSpanProcessor`.
    """

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Sets `versori.flow.name` where the span has none of its own."""
        name = get_value(_NAME, parent_context)
        # The span's lock is as new as the span: nobody else can have it yet.
        if name and FLOW_NAME_ATTRIBUTE not in (span.attributes or ()):
            span.set_attribute(FLOW_NAME_ATTRIBUTE, str(name))


def _equip_global_provider() -> None:
    """Adds the processor to the global provider once: under auto-instrumentation nobody else could."""
    global _equipped
    provider, here = trace.get_tracer_provider(), threading.get_ident()
    if not isinstance(provider, TracerProvider) or (_equipped is not None and _equipped() is provider):
        return
    if here in _equipping:  # a signal handler, in the middle of what this very thread does below
        return
    _equipping.add(here)
    try:
        # Two threads may both do it, and neither goes on before it is done; the second processor changes nothing.
        provider.add_span_processor(FlowNameProcessor())
        _equipped = weakref.ref(provider)
    finally:
        _equipping.discard(here)
