"""The flow of a span without a name: a template over its resource, or what a callable says; and what is said of it."""

from __future__ import annotations

import weakref
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY as KEY
from opentelemetry.context import get_value
from opentelemetry.sdk.resources import Resource

from opentelemetry.exporter.versori_flow.routing.default_flow import DefaultFlow, is_unknown_service


def span_of(resource: Any, name: str = "n") -> Any:
    """What the default flow looks at of a span."""
    return SimpleNamespace(resource=resource, name=name)


def resource_of(attributes: Any) -> Any:
    """A resource with attributes that the SDK might not keep."""
    resource = Resource({})
    resource._attributes = attributes
    return resource


def default(flow_name: Any, span: Any) -> str:
    return DefaultFlow(flow_name)(span)


SHOP = Resource({"service.name": "shop", "team": "x"})


ATTRIBUTES = {
    "service.name": "shop",
    "list": ("h1", "h2"),
    "yes": True,
    "count": 3,
    "no": False,
    "bytes": b"raw\xff",
    "blank": " ",
    "not UTF-8": "caf\udce9",
}


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("{service.name}", "shop"),
        ("a {service.name}/{ list } b", "a shop/h1,h2 b"),
        ("{{service.name}}", "{service.name}"),
        ("{{{service.name}}}", "{shop}"),
        ("{missing}-{none}", "unknown-unknown"),
        ("{yes} {no} {count} {bytes}", "true false 3 raw\ufffd"),
        ("  {blank} ", "unknown"),
        ("{service.name!r:>10}", "unknown"),
        ("{not UTF-8} \ud83d\ude00", "caf\ufffd \U0001f600"),
    ],
)
def test_the_template_is_rendered_over_the_resource(template: str, rendered: str) -> None:
    """Placeholders are resource attributes, and the name that comes out is never empty."""
    assert default(template, span_of(resource_of({**ATTRIBUTES, "none": None}))) == rendered


ATTRIBUTE = st.text(st.characters(exclude_characters="{}"), min_size=1).filter(str.strip)


@given(
    st.lists(st.text() | ATTRIBUTE.map(lambda name: (name,))),
    st.dictionaries(ATTRIBUTE.map(str.strip), st.text() | st.integers() | st.lists(st.text())),
)
def test_a_template_renders_its_parts_in_order(parts: list[Any], attributes: dict[str, Any]) -> None:
    """Literal text stays as it is, escaped braces included, and each placeholder gives its attribute."""

    def value(name: str) -> str:
        found = attributes.get(name.strip(), "unknown")
        return ",".join(found) if isinstance(found, list) else str(found)

    template = "".join(
        "{" + part[0] + "}" if isinstance(part, tuple) else part.replace("{", "{{").replace("}", "}}")
        for part in parts
    )
    expected = "".join(value(part[0]) if isinstance(part, tuple) else part for part in parts)
    assert default(template, span_of(resource_of(attributes))) == (expected.strip() or "unknown")


@given(
    st.text(st.sampled_from("{}a. \n")), st.dictionaries(st.text(), st.none() | st.binary() | st.booleans())
)
def test_a_template_is_refused_or_renders(template: str, attributes: dict[str, Any]) -> None:
    """Whatever is written either is refused as a value or renders for any resource."""
    try:
        flow = DefaultFlow(template)
    except ValueError:
        return
    rendered = flow(span_of(resource_of(attributes)))
    assert rendered
    assert rendered == rendered.strip()


def test_what_is_no_span_goes_somewhere_all_the_same() -> None:
    """The encoding room says what is wrong with it."""
    assert default("{service.name}", object()) == "unknown"
    assert default(lambda span: span.name, object()) == "unknown"


def test_each_resource_has_its_own_name() -> None:
    """Rendered once, told apart by identity, and not held: an id alone says nothing of a resource."""
    flow = DefaultFlow("{service.name}")
    resource = resource_of({"service.name": "shop"})
    assert flow(span_of(resource)) == "shop"
    resource._attributes = {"service.name": "renamed"}
    assert flow(span_of(resource)) == "shop"
    flow._names[id(resource)] = (weakref.ref(Resource({})), "stale")
    assert flow(span_of(resource)) == "renamed"
    most = 0
    resources = [Resource({"service.name": str(number)}) for number in range(200)]
    for number, one in enumerate(resources):
        assert flow(span_of(one)) == str(number)
        most = max(most, len(flow._names))
    assert most == 64


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (" order! ", "order!"),
        (17, "17"),
        ("caf\udce9 ", "caf\ufffd"),
        *((nothing, "shop") for nothing in (None, "", "  \n", 0, False, [])),
    ],
)
def test_a_callable_is_given_the_span(said: Any, name: str) -> None:
    """And its word counts, without surrounding blanks; where it says nothing, that of `{service.name}` does."""
    assert default(lambda span: span.name, span_of(SHOP, said)) == name


def test_what_a_callable_calls_is_not_traced() -> None:
    """An instrumented client would make one more span to ask for, for ever."""
    assert default(lambda _: get_value(KEY), span_of(SHOP)) == "True"
    assert get_value(KEY) is None


class Spoiled:
    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize(
    ("flow_name", "reason"),
    [(lambda span: 1 / 0, "ZeroDivisionError"), (lambda span: Spoiled(), "ValueError")],
)
def test_a_callable_that_raises_breaks_nothing(flow_name: Any, reason: str) -> None:
    """It is said once for each kind of error, not for each span, and without the error's text."""
    flow = DefaultFlow(flow_name)
    assert [flow(span_of(SHOP)) for _ in range(3)] == ["shop"] * 3
    (line,) = flow.remarks()
    assert line == f"flow_name raised {reason}: such spans go to the flow of their service's name"
    flow(span_of(SHOP))
    assert flow.remarks() == []


def test_errors_without_end_are_said_up_to_a_bound() -> None:
    """A callable may make a type of error for each span."""
    kinds = (type(f"Error{number}", (Exception,), {}) for number in range(40))

    def raises(span: Any) -> str:
        raise next(kinds)

    flow = DefaultFlow(raises)
    said = []
    for _ in range(40):
        assert flow(span_of(SHOP)) == "shop"
        said += flow.remarks()
    assert len(said) == 16


def test_an_attribute_that_the_resource_lacks_is_said_once() -> None:
    """When the first span lacks it, by its name; an attribute that is there is not mentioned."""
    flow = DefaultFlow("{service.name}-{no.such}-{none}")
    assert flow.remarks() == []
    for _ in range(2):
        resource = resource_of({"service.name": "shop", "none": None})
        assert flow(span_of(resource)) == "shop-unknown-unknown"
    assert flow.remarks() == [
        f"flow_name has {{{name}}}, an attribute that the resource of these spans lacks: "
        "it reads `unknown` in their flow's name"
        for name in ("no.such", "none")
    ]
    assert flow.remarks() == []
    for quiet in (DefaultFlow("{service.name}"), DefaultFlow(lambda span: "")):
        quiet(span_of(SHOP if quiet._ask is None else resource_of({})))
        assert quiet.remarks() == []


@pytest.mark.parametrize("flow_name", ["", ":python", ":python3.13-eu", "-eu"])
def test_a_service_without_a_name(flow_name: str) -> None:
    """However the SDK calls it, with the program behind it or without."""
    assert is_unknown_service("unknown_service" + flow_name)
    assert not is_unknown_service("my unknown_service" + flow_name)
    assert not any(map(is_unknown_service, ("unknown_services", "unknown_servicex-y", "unknown", "")))


def test_the_sdk_s_own_name_for_it() -> None:
    """What this SDK calls a service without a name is understood, and said once."""
    flow = DefaultFlow("{service.name}")
    name = flow(span_of(Resource.create({})))
    assert is_unknown_service(name)
    assert flow.remarks() == [
        f"OTEL_SERVICE_NAME is not set: spans go to the flow {name!r}, which every program without a name shares; "
        "set it, or VERSORI_FLOW_NAME"
    ]
