"""Images in prompts: which bytes are one, how large it is, what it is estimated at, and where it may stand."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm.core.budget import IMAGE_TOKENS, estimate_images, estimate_message
from rlm.core.calls.model import ModelCall, call_key, request_to
from rlm.core.config import Config
from rlm.core.image_headers import PixelSize, pixel_size
from rlm.core.run import Model
from rlm.core.types import IMAGE_BYTES, Image, Message, ModelTraits
from tests.support.images import GIF, WEBP, jpeg, png

THUMBNAIL = b"Exif\0\0" + jpeg(160, 120)


@pytest.mark.parametrize(
    ("data", "media_type"),
    [(png(), "image/png"), (jpeg(1, 1), "image/jpeg"), (GIF, "image/gif"), (WEBP, "image/webp")],
)
def test_the_type_is_told_by_the_first_bytes(data: bytes, media_type: str) -> None:
    image = Image.of(data)
    assert (image.media_type, image.data) == (media_type, data)
    assert image.digest == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("data", [b"", b"<svg/>", b"BM" + bytes(60), b"\x89PNG", b"%PDF-1.7", b"RIFF\0\0\0\0WAVE"])
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a PNG, JPEG, GIF or WebP image"):
        Image.of(data)


def test_an_image_may_be_as_large_as_the_cap_and_no_larger() -> None:
    whole = png() + bytes(IMAGE_BYTES - len(png()))
    assert len(Image.of(whole).data) == IMAGE_BYTES
    with pytest.raises(ValueError, match="at most 5,000,000 bytes"):
        Image.of(whole + b"\0")


def test_the_bytes_of_an_image_are_in_no_message() -> None:
    assert "IHDR" not in repr(Message(role="user", content="x", images=(Image.of(png()),)))


@pytest.mark.parametrize("role", ["system", "assistant", "tool"])
def test_only_a_user_shows_images(role: str) -> None:
    with pytest.raises(ValueError, match="no images"):
        Message(role=role, content="x", images=(Image.of(png()),))


def test_a_message_has_at_most_twenty() -> None:
    images = (Image.of(png()),) * 20
    assert len(Message(role="user", content="x", images=images).images) == 20
    with pytest.raises(ValueError, match="at most 20 images"):
        Message(role="user", content="x", images=(*images, images[0]))


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (png(640, 480), PixelSize(width=640, height=480)),
        (jpeg(640, 480), PixelSize(width=640, height=480)),
        (jpeg(640, 480, THUMBNAIL, bytes(60_000)), PixelSize(width=640, height=480)),
        (jpeg(640, 0), None),
        (jpeg(640, 480)[:8], None),
        (jpeg(640, 480, *[b""] * 300), None),
        (png()[:20], None),
        (GIF, None),
        (WEBP, None),
    ],
)
def test_the_size_in_pixels_is_read_where_it_can_be_believed(data: bytes, size: PixelSize | None) -> None:
    assert pixel_size(data) == size


@given(st.sampled_from([b"", png()[:8], b"\xff\xd8\xff"]), st.binary(max_size=200))
def test_no_bytes_break_the_reading_of_a_size(start: bytes, rest: bytes) -> None:
    size = pixel_size(start + rest)
    assert size is None or min(size.width, size.height) >= 1


@pytest.mark.parametrize(
    ("data", "tokens"),
    [
        (png(16, 16), 85 + 170),  # one tile of OpenAI's
        (jpeg(1000, 1000), 2520),  # 1024 patches of a small model of OpenAI's, times 2.46
        (jpeg(1568, 1568), 3779),  # OpenAI's small models scale down to 1536 patches
        (jpeg(2000, 1500), 3888),  # 72 x 54 squares of Anthropic's
        (jpeg(8000, 8000), IMAGE_TOKENS),
        (GIF, IMAGE_TOKENS),
    ],
)
def test_an_image_is_estimated_at_the_most_that_a_provider_counts(data: bytes, tokens: int) -> None:
    assert estimate_images([Image.of(data)]) == tokens


def test_a_message_is_estimated_with_its_images() -> None:
    image = Image.of(png(16, 16))
    plain = estimate_message(Message(role="user", content="x"))
    assert estimate_message(Message(role="user", content="x", images=(image, image))) == plain + 2 * 255


def test_calls_with_other_images_are_other_calls() -> None:
    model = Model(label="m", name="m", backend=None, traits=ModelTraits(), price=None)  # type: ignore[arg-type]

    def key(*images: bytes) -> str:
        message = Message(role="user", content="x", images=tuple(map(Image.of, images)))
        request = request_to(model, Config(), (message,))
        return call_key(ModelCall(model=model, request=request, input_tokens=1, purpose="llm_query"))

    asked = [(), (png(),), (png(grey=1),), (png(), png()), (png(), png(grey=1)), (png(grey=1), png())]
    assert len({key(*images) for images in asked}) == len(asked)
    assert key(png()) == key(png())
