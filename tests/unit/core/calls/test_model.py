"""What makes two sub-calls the same: the model and where it is, the messages and the options."""

from dataclasses import replace
from typing import Any

from rlm.backends.scripted import ScriptedBackend
from rlm.core.calls.model import ModelCall, call_key, request_to
from rlm.core.config import Config
from rlm.core.run import Model
from rlm.core.types import Message, ModelTraits

MODEL = Model(label="openai/m", name="m", backend=ScriptedBackend([]), traits=ModelTraits(), price=None)


def call(text: str = "q", **settings: Any) -> ModelCall:
    request = request_to(MODEL, Config(**settings), (Message(role="user", content=text),))
    return ModelCall(model=MODEL, request=request, input_tokens=1, purpose="llm_query")


def test_the_same_name_at_another_address_is_another_call() -> None:
    elsewhere = replace(call(), model=replace(MODEL, origin="http://127.0.0.1:1/v1"))
    assert call_key(call()) == call_key(call())
    assert call_key(elsewhere) != call_key(call())


def test_another_question_or_option_is_another_call() -> None:
    assert len({call_key(call()), call_key(call("r")), call_key(call(temperature=0.5))}) == 3
