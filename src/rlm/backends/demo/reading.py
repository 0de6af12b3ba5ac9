"""The demo's side of a sub-call: an extractive summary of the text in a prompt. It understands nothing: it counts, and
picks the lines whose words occur most."""

from __future__ import annotations

import re
from collections import Counter

from rlm.backends.demo.formats import ACCESS_LINE

READ_CHARS = 100_000
"""The most characters of a prompt that are read; more would hold up the event loop."""
_PICKED = 3
_PICKED_CHARS = 240

_PART = re.compile(r"<part>\n(.*?)\n</part>", re.DOTALL)
_DATA_MARK = "\nThe data for this task:\n"
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_LONG_WORD = re.compile(r"[^\W\d_]{4,}")
_STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
        about after also because been before being between both could each every from have having here into
        itself just like made make many more most much must only other over same should some such than that
        their them then there these they this those through under upon very were what when where which while
        will with would your
        """,
    )
)


def answer_prompt(prompt: str) -> str:
    """A summary of the data in `prompt`: of what stands between part marks, or after the mark of a plain child."""
    text = _data_in(prompt)[:READ_CHARS]
    records = ACCESS_LINE.findall(text)
    if records:
        return _summarise_records(records)
    return _pick_sentences(text) or "There is no text in this part."


def is_part(prompt: str) -> bool:
    """Whether `prompt` is one of those that the demo's own cells write."""
    return _PART.search(prompt[:READ_CHARS]) is not None


def _data_in(prompt: str) -> str:
    if part := _PART.search(prompt):
        return part[1]
    return prompt.partition(_DATA_MARK)[2] or prompt


def _summarise_records(records: list[tuple[str, ...]]) -> str:
    statuses = Counter(record[5] for record in records)
    paths = Counter(record[4] for record in records)
    errors = Counter((record[5], record[4]) for record in records if record[5] >= "500")
    first, last = records[0][1], records[-1][1]
    stand_out = ", ".join(f"{status} on {path} ({count})" for (status, path), count in errors.most_common(2))
    return (
        f"{len(records)} lines read, {first}h to {last}h: mostly {_most(statuses)}; busiest {_most(paths)}; "
        f"errors: {stand_out or 'none'}."
    )


def _most(counts: Counter[str]) -> str:
    return ", ".join(f"{value} ({count})" for value, count in counts.most_common(2))


def _pick_sentences(text: str) -> str:
    """The sentences whose words occur most, in their order. Source: Luhn, 1958, cut down to its idea."""
    sentences = [sentence.strip() for sentence in _SENTENCE_END.split(text) if len(sentence.strip()) > 20]
    words = [[word.lower() for word in _LONG_WORD.findall(sentence)] for sentence in sentences]
    counts = Counter(word for each in words for word in set(each) if word not in _STOP_WORDS)
    scores = {
        number: sum(counts[word] for word in set(each)) / (len(each) + 5) for number, each in enumerate(words) if each
    }
    best = sorted(sorted(scores, key=lambda number: -scores[number])[:_PICKED])
    return " ".join(sentences[number][:_PICKED_CHARS] for number in best)
