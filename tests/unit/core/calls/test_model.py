"""What makes two sub-calls the same: the model and where it is, the messages and the options."""

from dataclasses import replace

from rlm.backends.scripted import ScriptedBackend
from rlm.core.calls.model import ModelCall, call_key
from rlm.core.config import Config
from rlm.core.run import Model
from rlm.core.types import Message, ModelTraits

MODEL = Model(label="openai/m", name="m", backend=ScriptedBackend([]), traits=ModelTraits(), price=None)
CALL = ModelCall(
    model=MODEL, messages=(Message(role="user", content="q"),), input_tokens=1, purpose="llm_query", prompt="q"
)


def test_the_same_name_at_another_address_is_another_call():
    elsewhere = replace(CALL, model=replace(MODEL, origin="http://127.0.0.1:1/v1"))
    assert call_key(CALL, Config()) == call_key(replace(CALL), Config())
    assert call_key(elsewhere, Config()) != call_key(CALL, Config())


def test_another_question_or_option_is_another_call():
    asked = replace(CALL, messages=(Message(role="user", content="r"),))
    keys = {call_key(CALL, Config()), call_key(asked, Config()), call_key(CALL, Config(temperature=0.5))}
    assert len(keys) == 3
