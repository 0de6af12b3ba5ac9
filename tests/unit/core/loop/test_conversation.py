"""A conversation: recorded once as it grows, and cut for the last request without losing its beginning."""

import pytest

from rlm.core.loop.conversation import Conversation
from rlm.core.record.recorder import Recorder
from rlm.core.types import Image, Message, ModelReply, TokenUsage, ToolCall
from rlm.sinks.memory import MemorySink
from rlm.trajectory.writer import TrajectoryWriter
from tests.support.images import jpeg


@pytest.fixture
def sink():
    return MemorySink()


@pytest.fixture
def conversation(tmp_path, sink):
    recorder = Recorder("r" * 32, TrajectoryWriter(tmp_path, "r" * 32), [sink])
    yield Conversation(recorder, recorder.root, ())
    recorder.close()


def user(text):
    return Message(role="user", content=text)


def reply(text, *calls):
    return ModelReply(text=text, tool_calls=calls, usage=TokenUsage())


async def test_messages_are_recorded_once_and_replies_are_not_repeated(conversation, sink):
    await conversation.add([Message(role="system", content="s"), user("u")])
    conversation.add_reply(reply("a"))
    assert [message.role for message in conversation.messages] == ["system", "user", "assistant"]
    assert [body.content for body in sink.bodies("message")] == ["s", "u"]


async def test_the_estimate_grows_with_every_message_and_call(conversation):
    sizes = [conversation.input_tokens]
    await conversation.add([user("x" * 300)])
    sizes.append(conversation.input_tokens)
    conversation.add_reply(reply("", ToolCall(id="1", name="execute_code", arguments="y" * 300)))
    sizes.append(conversation.input_tokens)
    assert sizes[1] - sizes[0] >= 100
    assert sizes[2] - sizes[1] >= 100


async def test_images_count_are_noted_and_stay_to_the_end(conversation, sink):
    image = Image.of(jpeg(8000, 8000))
    await conversation.add([Message(role="system", content="s"), Message(role="user", content="task", images=(image,))])
    assert conversation.input_tokens > 4_784
    assert [note.digest for note in sink.bodies("message")[1].images] == [image.digest]
    messages, tokens = conversation.ending(user("now answer"), 0)
    assert messages[1].images == (image,)
    assert tokens > 4_784


async def test_an_ending_keeps_the_beginning_and_the_newest(conversation):
    await conversation.add([Message(role="system", content="s"), user("task")])
    for number in range(50):
        await conversation.add([user(f"{number} " + "x" * 300)])
    messages, tokens = conversation.ending(user("now answer"), 1000)
    assert [message.content for message in messages[:2]] == ["s", "task"]
    assert messages[-1].content == "now answer"
    assert messages[-2].content.startswith("49 ")
    assert tokens <= 1000
    assert len(messages) < 15


async def test_an_ending_without_room_is_still_a_request(conversation):
    await conversation.add([Message(role="system", content="s"), user("task"), user("x" * 3000)])
    messages, _ = conversation.ending(user("now answer"), 0)
    assert [message.content for message in messages] == ["s", "task", "now answer"]


async def test_an_ending_has_no_tool_messages(conversation):
    await conversation.add([Message(role="system", content="s"), user("task")])
    conversation.add_reply(reply("", ToolCall(id="1", name="execute_code", arguments='{"code": "1"}')))
    await conversation.add([Message(role="tool", content="out", tool_call_id="1")])
    messages, _ = conversation.ending(user("now answer"), 10_000)
    assert [message.role for message in messages] == ["system", "user", "assistant", "user", "user"]
    assert not any(message.tool_calls or message.tool_call_id for message in messages)
