"""Images from end to end: given with the prompt or passed on by guest code, seen by the model, paid, recorded."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rlm import RLM, Config
from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.core.events import ModelStart
from rlm.core.exceptions import ConfigError
from rlm.core.types import Image, ModelRequest
from rlm.sinks.memory import MemorySink
from rlm.trajectory.reader import Trajectory
from tests.integration.cli import CHOSE, User, fenced
from tests.servers.openai_server import completion, openai_server
from tests.support.images import png

PICTURES = [png(2, 2, grey=shade) for shade in (10, 20, 30)]


def seen(request: ModelRequest) -> str:
    """An answer that says how many images came, and which."""
    shades = [str(PICTURES.index(image.data)) for image in request.messages[-1].images]
    return f"{request.messages[-1].content}: {' '.join(shades)}"


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., RLM]]:
    """Makes an RLM whose model runs one cell, and whose sub-model says what it sees."""
    made = []

    def build(code: str) -> RLM:
        backend = ScriptedBackend({"main": [tool_call("execute_code", code=code)], "sub": seen})
        made.append(RLM(backend, config=Config(log_dir=str(tmp_path / "logs"), model="main", sub_model="sub")))
        return made[-1]

    yield build
    for rlm in made:
        rlm.close()


def test_guest_code_shows_images_to_the_sub_model(run: Callable[..., RLM]) -> None:
    code = """
one = llm_query("one", images=[context["pictures"][0]])
rest = llm_query_batched(["two", "none"], images=[context["pictures"][1:], None])
FINAL([one, *rest])
"""
    assert run(code).completion("x", {"pictures": PICTURES}).value == ["one: 0", "two: 1 2", "none:"]


def test_the_same_prompt_about_another_image_is_another_call(run: Callable[..., RLM]) -> None:
    code = "FINAL(llm_query_batched(['q'] * 4, images=[[context[0]], [context[0]], [context[1]], None]))"
    result = run(code).completion("x", PICTURES)
    assert result.value == ["q: 0", "q: 0", "q: 1", "q:"]
    assert (result.usage.model_calls, result.usage.subcalls) == (4, 4)


@pytest.mark.parametrize(
    ("images", "kind", "said"),
    [
        ("[b'GIF']", "ValueError", "not a PNG, JPEG, GIF or WebP image"),
        ("['a.png']", "TypeError", "a list of bytes"),
        ("context[0]", "TypeError", "a list of bytes"),
        ("[context[0]] * 21", "ValueError", "at most 20 images"),
        ("[context[0] + bytes(5_000_000)]", "ValueError", "at most 5,000,000 bytes"),
    ],
)
def test_what_is_no_list_of_images_raises_in_the_cell(
    run: Callable[..., RLM], images: str, kind: str, said: str
) -> None:
    code = f"try:\n    llm_query('q', images={images})\nexcept Exception as e:\n    FINAL([type(e).__name__, str(e)])"
    result = run(code).completion("x", PICTURES)
    assert result.value[0] == kind
    assert said in result.value[1]
    assert result.usage.subcalls == 0


def test_a_batch_needs_images_for_each_prompt(run: Callable[..., RLM]) -> None:
    code = "try:\n    llm_query_batched(['a', 'b'], images=[[]])\nexcept ValueError as e:\n    FINAL(str(e))"
    assert run(code).completion("x").value == "2 prompts but 1 lists of images"


def test_images_of_the_task_are_in_every_request_and_once_in_the_record(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PICTURES[0])
    backend = ScriptedBackend([tool_call("execute_code", code="1"), "done"])
    sink = MemorySink()
    with RLM(backend, config=Config(log_dir=str(tmp_path)), sinks=[sink]) as rlm:
        result = rlm.completion("x", images=[path, PICTURES[1], Image.of(PICTURES[2])])
    shown = [[image.data for image in request.messages[1].images] for request in backend.requests]
    assert shown == [PICTURES, PICTURES]
    notes = [note for body in sink.bodies("message") for note in body.images]
    assert [Path(f"{result.trajectory}"[:-6] + ".blobs", note.digest).read_bytes() for note in notes] == PICTURES
    assert b64encode(PICTURES[0])[:24] not in result.trajectory.read_bytes()


def test_sub_calls_note_their_images_once(run: Callable[..., RLM]) -> None:
    result = run("FINAL(llm_query_batched(['q'] * 3, images=[[context[0]]] * 3))").completion("x", PICTURES)
    starts = [event.body for event in Trajectory(result.trajectory) if isinstance(event.body, ModelStart)]
    noted = [[note.digest for note in body.images] for body in starts if body.purpose == "llm_query"]
    assert noted == [[Image.of(PICTURES[0]).digest], [], []]


def test_an_image_is_reserved_for_before_it_is_sent(tmp_path: Path) -> None:
    sink = MemorySink()
    with RLM(ScriptedBackend(["done"] * 2), config=Config(log_dir=str(tmp_path)), sinks=[sink]) as rlm:
        rlm.completion("x")
        rlm.completion("x", images=[PICTURES[0]])
    plain, shown = [body.input_tokens_estimate for body in sink.bodies("model.start")]
    assert shown == plain + 255


async def test_a_missing_image_ends_before_anything_is_called(tmp_path: Path) -> None:
    backend = ScriptedBackend(["done"])
    rlm = RLM(backend, config=Config(log_dir=str(tmp_path)))
    with rlm, pytest.raises(ConfigError, match="missing.png does not exist"):
        await rlm.acompletion("x", images=[tmp_path / "missing.png"])
    assert backend.requests == []


async def test_the_command_line_sends_image_files(user: User) -> None:
    for number, picture in enumerate(PICTURES[:2]):
        (user.cwd / f"{number}.png").write_bytes(picture)
    async with openai_server() as server:
        server.default = completion(fenced("FINAL('two squares')"))
        arguments = (
            "run",
            "What is this?",
            "--image",
            "0.png",
            "--image",
            "1.png",
            "--model",
            "openai/x",
            "--dialect",
            "code",
        )
        done = await asyncio.to_thread(user.rlm, *arguments, OPENAI_BASE_URL=server.base_url)
        content = server.requests[0].body["messages"][1]["content"]
    assert (done.returncode, done.stdout, done.stderr) == (0, "two squares\n", CHOSE)
    urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    assert urls == [f"data:image/png;base64,{b64encode(picture).decode()}" for picture in PICTURES[:2]]


def test_the_command_line_names_a_file_that_is_no_image(user: User) -> None:
    user.write("a.png", "text")
    done = user.rlm("run", "?", "--image", "a.png", "--model", "demo")
    assert (done.returncode, done.stdout) == (2, "")
    assert "a.png: not a PNG" in done.stderr


def test_the_demo_says_that_it_cannot_see(user: User) -> None:
    (user.cwd / "a.png").write_bytes(PICTURES[0])
    done = user.rlm("run", "What is this?", "--image", "a.png", "--model", "demo")
    assert done.returncode == 0
    assert "cannot see images" in done.stdout
