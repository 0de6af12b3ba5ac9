"""Refuses edits that bring masking labels into files: whoever was shown `[REDACTED_API_KEY]` in the place of a secret
and writes the text back would replace the secret by its label.

A label that the file holds already may stay. So may one that came from another file, rather than from whoever calls.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.core.paths import shown
from rlm.secrets.spans import LABEL

if TYPE_CHECKING:
    from rlm.helpers.changes import Change, Edit

_WORD = "redacted"


def require_no_labels(edit: Edit) -> None:
    """Check that an edit brings no label into a file, nor what is left of one in the place of a secret.

    Raises:
        ToolError: it does; the message says how to edit around a secret.
    """
    for change in edit.changes:
        label = _brought_in(change)
        if label is not None:
            raise ToolError(
                f"{edit.label}: {label} would come into {shown(change.name)}. It is not what files hold: it is shown "
                "in the place of a secret, which it would overwrite. Nothing was written. Leave the secret where it "
                "is and edit around it in code: by fs.search_replace, by fs.batch_copy, or by changing parts of the "
                "text that fs.read_file returned, never by typing again what you were shown. Where a file is meant to "
                "speak of labels, the user can allow it: helper_rights with 'labels'."
            )


def holds_label(text: str) -> bool:
    """Whether a text has a label in it, also one escaped for a regular expression."""
    return "REDACTED_" in text


def label_searched(instead: str) -> str:
    """A note for a search that found nothing, with an example of what to search for instead."""
    return (
        "what is searched for holds a label, which is shown in the place of a secret and is in no file: search for "
        f"what stands around it, such as {instead}"
    )


def _brought_in(change: Change) -> str | None:
    if change.before is None and (named := LABEL.search(change.name)):
        return named[0]
    after = change.text(change.after)
    if _WORD not in after.lower():
        return None
    before = change.text(change.before)
    new = Counter(LABEL.findall(after)) - Counter(LABEL.findall(before))
    return next(iter(new), None) or _in_place_of_a_secret(before, after)


def _in_place_of_a_secret(before: str, after: str) -> str | None:
    """The line that speaks of something redacted in a text from which a secret went; None if there is no such line."""
    known = {*before.splitlines()}
    line = next((line for line in after.splitlines() if _WORD in line.lower() and line not in known), None)
    if line is None:
        return None
    from rlm.secrets.text_masking import TextMasker  # compiles every detector

    secrets = (before[span.start : span.end] for span in TextMasker().find(before))
    return shown(line.strip()) if any(secret not in after for secret in secrets) else None
