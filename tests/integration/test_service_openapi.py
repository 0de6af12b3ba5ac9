"""The OpenAPI document of the service beside what it really answers."""

import jsonschema
import pytest

from rlm.service import executions, openai, rest, websocket
from tests.integration.test_service import place  # noqa: F401 - a fixture

REFUSED = {"rest_control", "websocket_talk", "websocket_talk_mcp"}
"""Endpoints that are refused here: the run has ended, and the request asks for no WebSocket."""
CHAT = {"messages": [{"role": "user", "content": "?"}]}


def asked(run_id, upload_id, list_id, response_id):
    """A request of each endpoint: its name, the path, and the body."""
    return {
        "rest_health": ("/health", None),
        "rest_submit": ("/v1/runs", {"prompt": "?"}),
        "rest_page": ("/v1/runs?limit=2", None),
        "rest_show": (f"/v1/runs/{run_id}", None),
        "rest_result": (f"/v1/runs/{run_id}/result", None),
        "rest_events": (f"/v1/runs/{run_id}/events", None),
        "rest_control": (f"/v1/runs/{run_id}/control", {"action": "pause"}),
        "rest_submit_list": ("/v1/task-lists", {"tasks": [{"id": "a", "prompt": "?"}]}),
        "rest_show_list": (f"/v1/task-lists/{list_id}", None),
        "rest_cancel_list": (f"/v1/task-lists/{list_id}", None),
        "rest_upload": ("/v1/contexts", {"some": "data"}),
        "rest_uploads": ("/v1/contexts", None),
        "rest_delete_upload": (f"/v1/contexts/{upload_id}", None),
        "rest_metrics": ("/metrics", None),
        "openai_models": ("/v1/models", None),
        "openai_model": ("/v1/models/rlm/held/m", None),
        "openai_chat": ("/v1/chat/completions", CHAT),
        "openai_respond": ("/v1/responses", {"input": "?"}),
        "openai_retrieve": (f"/v1/responses/{response_id}", None),
        "openai_cancel": (f"/v1/responses/{response_id}/cancel", None),
        "websocket_talk": ("/ws", None),
        "websocket_talk_mcp": ("/ws/mcp", None),
        "executions_execute": ("/execute", {"tasks": ["?"]}),
        "executions_status": (f"/executions/{list_id}/status", None),
        "executions_results": (f"/executions/{list_id}/results", None),
        "executions_cancel": (f"/executions/{list_id}", None),
        "executions_auth_status": ("/auth/status", None),
        "executions_manifest": ("/.well-known/mcp/rlm.json", None),
        "openapi_answer": ("/openapi.json", None),
    }


def checked(document, described, answer, body):
    """Check an answer against what the document says of its status."""
    responses = described["responses"]
    found = responses["default" if described["operationId"] in REFUSED else str(answer.status)]
    content = found.get("content", {})
    assert (answer.content_type in content) if content else not body, (described["operationId"], answer.status, body)
    if schema := content.get(answer.content_type, {}).get("schema"):
        whole = {**schema, "components": document["components"]}
        jsonschema.Draft202012Validator(whole).validate(body)


async def test_every_endpoint_is_described_and_answers_as_it_is_described(place):  # noqa: F811
    async with place.open() as client:
        run_id, _ = await client.answered(prompt="?", context="data")
        begun = (await client.ask("POST", "/execute", {"tasks": ["?"]}))[1]
        kept = (await client.ask("POST", "/v1/contexts", {}))[1]
        response = (await client.ask("POST", "/v1/responses", {"input": "?"}))[1]
        status, document = await client.ask("GET", "/openapi.json")
        assert (status, document["openapi"]) == (200, "3.1.0")
        requests = asked(run_id, kept["id"], begun["execution_id"], response["id"])
        unasked = set(requests)
        for methods in document["paths"].values():
            for method, described in methods.items():
                path, body = requests[described["operationId"]]
                async with client.session.request(method, path, json=body) as answer:
                    is_json = "json" in answer.content_type
                    text = await answer.json(content_type=None) if is_json else await answer.read()
                    checked(document, described, answer, text)
                unasked.discard(described["operationId"])
        assert unasked == set()
    ids = [each["operationId"] for methods in document["paths"].values() for each in methods.values()]
    assert len(ids) == len(set(ids))
    faces = [each for face in (rest, openai, websocket, executions) for each in face.endpoints()]
    described = {path: set(methods) for path, methods in document["paths"].items()}
    for each in faces:
        assert each.method.lower() in described[each.path.replace(":.+", "")]


async def test_refusals_are_as_described_and_requests_are_made_of_the_same_types(place):  # noqa: F811
    async with place.open() as client:
        document = (await client.ask("GET", "/openapi.json"))[1]
        schemas = document["components"]["schemas"]
        assert "prompt" in schemas["NewRun"]["required"]
        assert schemas["NewRun"]["additionalProperties"] is False
        names = {each["name"] for each in document["paths"]["/v1/runs"]["get"]["parameters"]}
        assert {"limit", "before", "state", "format"} <= names
        for path, problem in (("/v1/runs/ab", "ProblemDetails"), ("/v1/models/ab", "OpenAIError")):
            body = (await client.ask("GET", path))[1]
            whole = {"$ref": f"#/components/schemas/{problem}", "components": document["components"]}
            jsonschema.Draft202012Validator(whole).validate(body)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(whole).validate({"error": "text"})
