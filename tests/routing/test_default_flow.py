"""The flow of a span without a name: a template over its resource, or what a callable says; and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource

from opentelemetry.exporter.versori_flow.routing.default_flow import DefaultFlow, is_unknown_service


class Span:
    """What the default flow looks at of a span."""

    def __init__(self, resource: Resource | None = None, name: str = "n") -> None:
        self.resource = resource
        self.name = name


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
    "bytes": b"raw",
    "blank": " ",
}


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("{service.name}", "shop"),
        ("a {service.name}/{ list } b", "a shop/h1,h2 b"),
        ("{{service.name}}", "{service.name}"),
        ("{{{service.name}}}", "{shop}"),
        ("{missing}-{none}", "unknown-unknown"),
        ("{yes} {count} {bytes}", "true 3 raw"),
        ("  {blank} ", "unknown"),
        ("{service.name!r:>10}", "unknown"),
    ],
)
def test_the_template_is_rendered_over_the_resource(template: str, rendered: str) -> None:
    """Placeholders are resource attributes, and the name that comes out is never empty."""
    assert default(template, Span(resource_of({**ATTRIBUTES, "none": None}))) == rendered


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
    assert default(template, Span(resource_of(attributes))) == (expected.strip() or "unknown")


@given(
    st.text(st.sampled_from("{}a. \n")), st.dictionaries(st.text(), st.none() | st.binary() | st.booleans())
)
def test_a_template_is_refused_or_renders(template: str, attributes: dict[str, Any]) -> None:
    """Whatever is written either is refused as a value or renders for any resource."""
    try:
        flow = DefaultFlow(template)
    except ValueError:
        return
    rendered = flow(Span(resource_of(attributes)))  # type: ignore[arg-type]
    assert rendered
    assert rendered == rendered.strip()


def test_what_is_no_span_goes_somewhere_all_the_same() -> None:
    """The encoding room says what is wrong with it."""
    assert default("{service.name}", object()) == "unknown"
    assert default(lambda span: span.name, object()) == "unknown"


def test_each_resource_has_its_own_name() -> None:
    """There may be several in one process; they are told apart by identity, and held while remembered."""
    flow = DefaultFlow("{service.name}")
    most = 0
    for number in range(200):
        assert flow(Span(Resource({"service.name": str(number)}))) == str(number)  # type: ignore[arg-type]
        most = max(most, len(flow._names))
    assert most == 64


def test_a_resource_is_rendered_once() -> None:
    """It is the same for all spans of a provider."""
    flow = DefaultFlow("{service.name}")
    shop = resource_of({"service.name": "shop"})
    assert flow(Span(shop)) == "shop"  # type: ignore[arg-type]
    shop._attributes = {"service.name": "renamed"}
    assert flow(Span(shop)) == "shop"  # type: ignore[arg-type]


def test_another_resource_at_the_same_address_is_another_one() -> None:
    """An id alone says nothing once its resource is gone."""
    flow = DefaultFlow("{service.name}")
    flow._names[id(SHOP)] = (Resource({}), "stale")
    assert flow(Span(SHOP)) == "shop"  # type: ignore[arg-type]


def test_a_callable_is_given_the_span() -> None:
    """And its word counts, without surrounding blanks."""
    assert default(lambda span: f" {span.name}! ", Span(SHOP, "order")) == "order!"
    assert default(lambda span: 17, Span(SHOP)) == "17"


@pytest.mark.parametrize("nothing", [None, "", "  \n", 0, False, []])
def test_a_callable_that_says_nothing_is_the_template_s(nothing: Any) -> None:
    """`{service.name}`, since there is no other."""
    assert default(lambda span: nothing, Span(SHOP)) == "shop"


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
    assert [flow(Span(SHOP)) for _ in range(3)] == ["shop"] * 3  # type: ignore[arg-type]
    (line,) = flow.remarks()
    assert line == f"flow_name raised {reason}: such spans go to the flow of their service's name"
    flow(Span(SHOP))  # type: ignore[arg-type]
    assert flow.remarks() == []


def test_errors_without_end_are_said_up_to_a_bound() -> None:
    """A callable may make a type of error for each span."""

    def raises(span: Any) -> str:
        raise type(f"Error{len(said)}", (Exception,), {})

    said: list[str] = []
    flow = DefaultFlow(raises)
    for _ in range(40):
        assert flow(Span(SHOP)) == "shop"  # type: ignore[arg-type]
        said += flow.remarks() or ["nothing"]
    assert len([line for line in said if line != "nothing"]) == 16


def test_an_attribute_that_the_resource_lacks_is_said_once() -> None:
    """When the first span lacks it, by its name; an attribute that is there is not mentioned."""
    flow = DefaultFlow("{service.name}-{no.such}-{none}")
    assert flow.remarks() == []
    for _ in range(2):
        resource = resource_of({"service.name": "shop", "none": None})
        assert flow(Span(resource)) == "shop-unknown-unknown"  # type: ignore[arg-type]
    first, second = flow.remarks()
    assert first.startswith("flow_name has {no.such}, an attribute that ")
    assert second.startswith("flow_name has {none}, ")
    assert flow.remarks() == []
    for quiet in (DefaultFlow("{service.name}"), DefaultFlow(lambda span: "")):
        quiet(Span(SHOP if quiet._ask is None else resource_of({})))  # type: ignore[arg-type]
        assert quiet.remarks() == []


@pytest.mark.parametrize(
    ("flow_name", "unknown"),
    [
        ("unknown_service", True),
        ("unknown_service:python", True),
        ("unknown_service:python3.13-eu", True),
        ("unknown_service-eu", True),
        ("unknown_services", False),
        ("my unknown_service", False),
        ("unknown", False),
        ("", False),
    ],
)
def test_a_service_without_a_name(flow_name: str, unknown: bool) -> None:
    """However the SDK calls it, with the program behind it or without."""
    assert is_unknown_service(flow_name) is unknown


def test_the_sdk_s_own_name_for_it() -> None:
    """What this SDK calls a service without a name is understood."""
    assert is_unknown_service(default("{service.name}", Span(Resource.create({}))))
