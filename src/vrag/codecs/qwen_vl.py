"""Messages to token ids for the Qwen2.5-VL and Qwen3-VL families.

Both speak ChatML, wrap an image in `<|vision_start|>…<|vision_end|>`, and spend one `<|image_pad|>` per
merged patch; they differ in patch size and in the frame of coordinates (`vrag.geometry`).

Control tokens are placed by id. Text from users and documents is tokenised with special tokens split, so that
it can never make one.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vrag.codecs import bytelevel
from vrag.errors import CheckpointError, InvariantError
from vrag.types import Encoded, EncodedImage, ImagePart, Message

if TYPE_CHECKING:
    from PIL.Image import Image

# Never sampled: a policy that writes one would claim an image that isn't there, or another's turn.
RESERVED = (
    "<|im_start|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)


class QwenVLCodec:
    """See the module. `tokenizer` and `image_processor` are the checkpoint's own (no video processor).

    The last `remembered` encoded images are kept (about 1 MB each at the paper's budget) and shared.
    """

    remembered = 256

    def __init__(self, tokenizer: Any, image_processor: Any) -> None:
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.merge_size = int(image_processor.merge_size)
        self.patch_size = int(image_processor.patch_size)
        self._ids = {token: self._control(token) for token in (*RESERVED, "<|im_end|>")}
        self.image_pad_id = self._ids["<|image_pad|>"]
        self.end_of_turn_id = self._ids["<|im_end|>"]
        self.forbidden_ids = frozenset(self._ids[token] for token in RESERVED)
        self._encoded: OrderedDict[tuple[Any, ...], tuple[Any, EncodedImage]] = OrderedDict()
        self._newline = self.encode_text("\n")
        self._system = _default_system(tokenizer)

    @classmethod
    def from_pretrained(cls, path: str | Path) -> QwenVLCodec:
        """Load from a checkpoint in the Hub's layout; the image side is PIL + numpy, without torchvision."""
        from transformers import AutoTokenizer
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

        tokenizer = AutoTokenizer.from_pretrained(str(path))
        return cls(tokenizer, Qwen2VLImageProcessorPil.from_pretrained(str(path)))

    def save_pretrained(self, path: str | Path) -> None:
        """Write tokenizer, chat template and image settings beside a model."""
        self.tokenizer.save_pretrained(str(path))
        self.image_processor.save_pretrained(str(path))

    def prompt(self, messages: Sequence[Message]) -> Encoded:
        """The whole opening up to the first generation, the checkpoint's default system message included."""
        opening = [*self._opening_system(messages), *messages]
        return self._join([self._message(m) for m in opening], self._generation())

    def observe(self, messages: Sequence[Message], *, closed: bool) -> Encoded:
        ending = self._newline if closed else [self.end_of_turn_id, *self._newline]
        return self._join([Encoded(ending)], *[self._message(m) for m in messages], self._generation())

    def decode(self, ids: Sequence[int]) -> str:
        """The text of sampled ids; the end of turn is dropped, tags that the vocabulary holds are kept."""
        kept = [i for i in ids if i != self.end_of_turn_id]
        return self.tokenizer.decode(kept, skip_special_tokens=False)

    def token_text(self, token: int) -> str:
        """The text of one token alone; none of a control token."""
        return self.tokenizer.decode([token], skip_special_tokens=True)

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The text of each id, control tokens too; together they are the text of all (`vrag.codecs.bytelevel`)."""
        return bytelevel.pieces(self.tokenizer.convert_ids_to_tokens(list(ids)))

    def encode_sampled(self, text: str) -> list[int]:
        """Ids of a turn as a policy would sample it, end of turn included: for experts that speak only text."""
        return [*self.encode_text(text), self.end_of_turn_id]

    def encode_text(self, text: str) -> list[int]:
        """Ids of plain text: control tokens in it are split, so that it can't make one."""
        return self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]

    def encode_image(self, part: ImagePart) -> EncodedImage:
        """Patches of an image that already has the size of its view (`vrag.geometry` makes views).

        Equal views give the same object while it is remembered: siblings look at the same pages.
        """
        view = part.view
        key = (view.page_id, view.region.as_tuple(), view.width, view.height)
        found = self._encoded.get(key)
        if found is None or found[0] is not part.image:
            found = (part.image, self._encode(part))
        self._encoded[key] = found
        self._encoded.move_to_end(key)
        if len(self._encoded) > self.remembered:
            self._encoded.popitem(last=False)
        return found[1]

    def _encode(self, part: ImagePart) -> EncodedImage:
        factor = self.patch_size * self.merge_size
        width, height = part.image.size
        if width % factor or height % factor:
            raise InvariantError(
                f"{part.view.ref.document} page {part.view.ref.page}: a view of {width}x{height} "
                f"is no multiple of {factor}; make the environment's view with this codec's factor"
            )
        return self.encode_pixels(part.image)

    def encode_pixels(self, image: Image) -> EncodedImage:
        """Patches of an image whose sides are multiples of patch x merge; not remembered."""
        grid = 1, image.height // self.patch_size, image.width // self.patch_size
        return EncodedImage(grid, partial(self._patches, image, grid))

    def _patches(self, image: Image, grid: tuple[int, int, int]) -> np.ndarray:
        out = self.image_processor(images=[image], do_resize=False, return_tensors="np")
        pixels = np.asarray(out["pixel_values"], dtype=np.float32)
        if len(pixels) != math.prod(grid):
            raise InvariantError(f"the image processor makes {len(pixels)} patches of an image with grid {grid}")
        return pixels

    # -------------------------------------------------------------------------------------- internals

    def _control(self, token: str) -> int:
        found = self.tokenizer.convert_tokens_to_ids(token)
        if found is None or found == self.tokenizer.unk_token_id:
            raise CheckpointError(f"the tokenizer has no {token}: is this a Qwen2.5-VL or Qwen3-VL checkpoint?")
        return int(found)

    def _opening_system(self, messages: Sequence[Message]) -> list[Message]:
        has_own = bool(messages) and messages[0].role == "system"
        return [] if has_own or self._system is None else [Message("system", [self._system])]

    def _message(self, message: Message) -> Encoded:
        ids = [self._ids["<|im_start|>"], *self.encode_text(f"{message.role}\n")]
        images: list[EncodedImage] = []
        for part in message.parts:
            if isinstance(part, str):
                ids += self.encode_text(part)
                continue
            image = self.encode_image(part)
            pads = image.grid[0] * image.grid[1] * image.grid[2] // self.merge_size**2
            ids += [self._ids["<|vision_start|>"], *[self.image_pad_id] * pads, self._ids["<|vision_end|>"]]
            images.append(image)
        return Encoded([*ids, self.end_of_turn_id, *self._newline], images)

    def _generation(self) -> Encoded:
        return Encoded([self._ids["<|im_start|>"], *self.encode_text("assistant\n")])

    @staticmethod
    def _join(first: Sequence[Encoded], *rest: Encoded) -> Encoded:
        parts = [*first, *rest]
        return Encoded([i for p in parts for i in p.ids], [image for p in parts for image in p.images])


def _default_system(tokenizer: Any) -> str | None:
    """The system message that the checkpoint's own chat template adds when none is given, or None."""
    if not getattr(tokenizer, "chat_template", None):
        return None
    probe = tokenizer.apply_chat_template([{"role": "user", "content": "?"}], tokenize=False)
    opening = "<|im_start|>system\n"
    if not probe.startswith(opening):
        return None
    return probe[len(opening) :].split("<|im_end|>", 1)[0]
