"""Why the service refuses something: one class, which every face tells in the words of its own protocol."""

from __future__ import annotations

from http import HTTPStatus

from rlm.core.exceptions import RLMError


class RequestRefused(RLMError):
    """A request that is not done, with the HTTP status that fits."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail

    @property
    def title(self) -> str:
        """The name of the status."""
        return HTTPStatus(self.status).phrase
