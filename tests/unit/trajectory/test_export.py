from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from rlm.core.events import Body, ModelEnd, ModelStart
from rlm.core.types import TokenUsage
from rlm.trajectory.conventions import provider_and_model
from rlm.trajectory.export import as_chats, as_csv
from rlm.trajectory.export_otlp import as_otlp
from rlm.trajectory.index.folder import Index
from tests.unit.trajectory.records import CALL, RUN, STEPS, answer, ask, begin, end, events, write


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    write(tmp_path)
    with Index.open(tmp_path) as index:
        index.refresh()
        yield index


def decoded(request: dict[str, Any]) -> ExportTraceServiceRequest:
    """What a collector makes of it: OTLP's JSON has ids in hex, protobuf's in base64."""
    for scope in request["resourceSpans"][0]["scopeSpans"]:
        for span in scope["spans"]:
            for name in ("traceId", "spanId", "parentSpanId"):
                if name in span:
                    span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
    return json_format.ParseDict(request, ExportTraceServiceRequest())


def attributes(span: Any) -> dict[str, Any]:
    """The attributes of a span, lists as lists."""

    def value(given: Any) -> Any:
        kind = given.WhichOneof("value")
        return [value(each) for each in given.array_value.values] if kind == "array_value" else getattr(given, kind)

    return {each.key: value(each.value) for each in span.attributes}


def test_spans_are_otlp(index: Index) -> None:
    [request] = map(decoded, as_otlp(index, index.run("last")))
    spans = request.resource_spans[0].scope_spans[0].spans
    assert len(spans) == 10
    assert {len(span.span_id) for span in spans} == {8}
    assert {span.trace_id.hex() for span in spans} == {index.run("last").id}
    ids = {span.span_id for span in spans}
    assert [span.name for span in spans if span.parent_span_id not in ids] == ["invoke_agent rlm"]


def test_a_model_call_follows_the_conventions(index: Index) -> None:
    [request] = map(decoded, as_otlp(index, index.run("last")))
    spans = request.resource_spans[0].scope_spans[0].spans
    [failed] = [span for span in spans if span.status.message.startswith("RateLimitError")]
    facts = attributes(failed)
    assert facts["gen_ai.response.finish_reasons"] == ["error"]
    assert (failed.name, failed.kind, failed.status.code) == ("chat demo/small", 3, 2)
    assert facts["gen_ai.operation.name"] == "chat"
    assert facts["gen_ai.request.model"] == "small"
    assert (facts["gen_ai.usage.input_tokens"], facts["error.type"]) == (10, "RateLimitError")
    assert "second part" not in str(facts)


def test_a_call_tells_what_was_cached_and_why_it_ended(tmp_path: Path) -> None:
    usage = TokenUsage(input_tokens=100, output_tokens=7, cached_tokens=60, cache_write_tokens=20)
    calls: list[tuple[str, str | None, Body]] = []
    for span, finish in (("m1", "tool_calls"), ("m2", "length"), ("m3", "unknown")):
        start = ModelStart(model="litellm/gemini/a/b", purpose="turn", max_output_tokens=512, input_tokens_estimate=9)
        calls += [(span, "r", start), (span, "r", ModelEnd(text="x", usage=usage, finish=finish))]  # type: ignore[arg-type]
    write(tmp_path, events([("r", None, begin()), *calls, ("r", None, end())]))
    with Index.open(tmp_path) as index:
        index.refresh()
        [request] = map(decoded, as_otlp(index, index.run("last")))
    scope = request.resource_spans[0].scope_spans[0]
    assert scope.schema_url == "https://opentelemetry.io/schemas/gen-ai-dev/1.42.0-dev"
    first, *others = [attributes(span) for span in scope.spans if span.name.startswith("chat")]
    assert first["gen_ai.usage.cache_read.input_tokens"] == 60
    assert first["gen_ai.usage.cache_write.input_tokens"] == 20
    assert (first["gen_ai.provider.name"], first["gen_ai.request.model"]) == ("gcp.gemini", "a/b")
    assert (first["gen_ai.request.max_tokens"], first["gen_ai.response.finish_reasons"]) == (512, ["tool_call"])
    assert [other.get("gen_ai.response.finish_reasons") for other in others] == [["length"], None]


@pytest.mark.parametrize(
    ("label", "provider", "model"),
    [
        ("openai/meta/llama-4", "openai", "meta/llama-4"),
        ("claude-cli/sonnet", "anthropic", "sonnet"),
        ("litellm/vertex_ai/gemini-3", "gcp.vertex_ai", "gemini-3"),
        ("litellm/groq/x", "groq", "x"),
        ("toy", "toy", "toy"),
    ],
)
def test_providers_have_the_names_of_the_conventions(label: str, provider: str, model: str) -> None:
    assert provider_and_model(label) == (provider, model)


def test_content_goes_along_only_when_asked_for(index: Index) -> None:
    assert "second part" not in json.dumps(list(as_otlp(index, index.run("last"))))
    assert "second part" in json.dumps(list(as_otlp(index, index.run("last"), content=True)))


def test_a_table_has_a_row_for_each_span(index: Index) -> None:
    rows = list(csv.DictReader(io.StringIO("".join(as_csv(index, [index.run("last")])))))
    assert [row["span"] for row in rows] == [span.id for span in index.all_spans(index.run("last").id).rows]
    assert (rows[0]["total_tokens"], rows[0]["total_cost_usd"]) == ("60", "1.0")


@pytest.mark.parametrize("evil", ["=cmd|'/c calc'!A0", "+1", "-1", "@x", " =1", "\t=1", "\uff1d1"])
def test_no_cell_is_a_formula(tmp_path: Path, evil: str) -> None:
    write(tmp_path, events([("r", None, begin(prompt=evil)), ("r", None, end())]))
    with Index.open(tmp_path) as index:
        index.refresh()
        [row] = csv.DictReader(io.StringIO("".join(as_csv(index, [index.run("last")]))))
    assert row["head"] == "'" + evil


def test_completions_are_chats(index: Index) -> None:
    child, root = map(json.loads, as_chats(index.trajectory(index.run("last").id)))
    assert [message["role"] for message in root["messages"]] == ["system", "user", "assistant", "tool"]
    [call] = root["messages"][2]["tool_calls"]
    assert call == {"id": "c1", "type": "function", "function": {"name": CALL.name, "arguments": CALL.arguments}}
    assert root["messages"][3] == {"role": "tool", "content": "seen", "tool_call_id": "c1"}
    assert (child["depth"], child["messages"]) == (1, [{"role": "assistant", "content": "child's answer"}])


def test_a_chat_has_the_last_request_of_a_landing(tmp_path: Path) -> None:
    landing = [
        ("l", "r", ask("landing", "Your best answer, please.")),
        ("l", "r", answer("seven")),
        ("r", None, end("limit")),
    ]
    write(tmp_path, events([("r", None, begin()), *landing]))
    with Index.open(tmp_path) as index:
        [chat] = as_chats(index.trajectory(RUN), failed_too=True)
    said = [(each["role"], each["content"]) for each in json.loads(chat)["messages"]]
    assert said == [("user", "Your best answer, please."), ("assistant", "seven")]


def test_failed_completions_are_no_examples_unless_asked_for(tmp_path: Path) -> None:
    write(tmp_path, events([*STEPS[:-1], ("r", None, end("failed", "Boom"))]))
    with Index.open(tmp_path) as index:
        index.refresh()
        record = index.trajectory(index.run("last").id)
        assert len(list(as_chats(record))) == 1
        assert len(list(as_chats(record, failed_too=True))) == 2
