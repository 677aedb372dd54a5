"""The OpenAPI document says what is true: schemathesis finds nothing that it does not tell."""

from __future__ import annotations

import asyncio

import jsonschema_rs
import msgspec
import orjson
import pytest

from features.errors import RequestError
from serving.http import HANDLERS, VERSION
from serving.openapi import EXAMPLES, document
from serving.wire_answers import ANSWERS, Answer
from tests.test_serving.fuzzing import attacked
from tests.test_serving.generated import generate

DOCUMENT = document(VERSION, {path: scope for path, (scope, _) in HANDLERS.items()})
CHECKS = {
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "negative_data_rejection", "positive_data_acceptance", "ignored_auth",
    "unsupported_method", "allow_header_conformance", "missing_required_header", "use_after_free",
    "ensure_resource_availability",
}  # fmt: skip


def test_generated_requests_find_nothing_that_the_document_does_not_tell(toy_shop):
    """Each field at its limits and beyond, refused or accepted as the document says, in the form that it says."""
    with attacked(toy_shop) as world:
        run = generate(world, examples=1)
    assert not run.broken, "\n\n".join(f"{where}: {case}" for where, case in run.broken.items())
    assert not world.broken, world.broken
    assert set(run.checks) >= CHECKS and world.seen.total() > 1_000
    assert {path for path, _ in world.seen} >= set(HANDLERS)


def test_every_route_is_in_the_document_and_nothing_else():
    """With the scope that its key needs, its body, its answer and its refusals."""
    posts = {path: told["post"] for path, told in DOCUMENT["paths"].items() if "post" in told}
    assert set(posts) == set(HANDLERS) == set(EXAMPLES) == set(ANSWERS)
    assert {path: told["tags"] for path, told in posts.items()} == {
        path: [scope] for path, (scope, _) in HANDLERS.items()
    }
    names = [told["operationId"] for each in DOCUMENT["paths"].values() for told in each.values()]
    assert len(set(names)) == len(names)
    for told in posts.values():
        assert {"400", "401", "403", "405", "413", "415", "429", "503"} <= set(told["responses"])


@pytest.mark.parametrize("path", EXAMPLES)
def test_the_examples_are_what_the_document_allows(path):
    kind, _, example = EXAMPLES[path]
    schema = {"$ref": f"#/components/schemas/{kind.__name__}", "components": DOCUMENT["components"]}
    jsonschema_rs.Draft202012Validator(schema).validate(orjson.loads(orjson.dumps(example)))


@pytest.mark.parametrize(
    "value, allowed",
    [("a", True), (2.5, True), (True, True), ([], True), (["a", "b"], True), ([1, 2.5], True), (["a", 1], False),
     ([True], False), ({}, False)],
)  # fmt: skip
@pytest.mark.parametrize("condition", [{}, {"where": "brand == 'x' or price < 5"}])
def test_a_list_of_a_condition_is_of_one_kind(toy_engine, condition, value: object, allowed: bool):
    """The document says so, and so does the service; also where no condition asks for it."""
    body = {"userId": "ann", "filter": {**condition, "values": {"given": value}}}
    schema = {"$ref": "#/components/schemas/RecommendationsRequest", "components": DOCUMENT["components"]}
    assert jsonschema_rs.Draft202012Validator(schema).is_valid(body) is allowed
    answer = HANDLERS["/v1/recommendations"][1](toy_engine, orjson.dumps(body), toy_engine.clock.now())
    if allowed:
        asyncio.run(answer)
    else:
        with pytest.raises((RequestError, msgspec.ValidationError)) as refusal:
            asyncio.run(answer)
        read = condition and value == ["a", 1]  # the condition says that it cannot read it
        assert ("filter.where" if read else "filter.values") in str(refusal.value)


def test_every_answer_and_every_field_of_it_is_described():
    """An answer without a schema, or one whose schema allows anything, would be a promise of nothing."""
    schemas = DOCUMENT["components"]["schemas"]
    for path, kind in ANSWERS.items():
        assert issubclass(kind, Answer) and schemas[kind.__name__]["properties"], path
        needed = {field.encode_name for field in msgspec.structs.fields(kind) if field.required}
        assert set(schemas[kind.__name__].get("required", ())) == needed
