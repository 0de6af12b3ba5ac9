"""The arguments of what guest code calls: what is too much is refused in words, before anything is made of it."""

from __future__ import annotations

import pytest

from rlm.core.calls.arguments import MAX_PROMPT_CHARS, MAX_PROMPTS, prompts


def test_a_batch_may_be_large() -> None:
    assert prompts(("a",) * MAX_PROMPTS) == ["a"] * MAX_PROMPTS


def test_a_batch_of_far_too_many_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 10,000 prompts, not 990,000"):
        prompts(["a"] * 990_000)


def test_a_prompt_that_no_model_reads_is_refused() -> None:
    with pytest.raises(ValueError, match=r"prompts\[1\] has 16,000,001 characters"):
        prompts(["a", "x" * (MAX_PROMPT_CHARS + 1)])


@pytest.mark.parametrize("value", ["a", None, [1], {"a": "b"}])
def test_prompts_are_a_list_of_texts(value: object) -> None:
    with pytest.raises(TypeError, match=r"must be a (list of )?str"):
        prompts(value)
