"""Finds and masks secrets and personal data: in text, in nested values, in streams."""

from __future__ import annotations

from rlm.secrets.masking import Level, SecretMasker, mask_secrets, mask_value, masker
from rlm.secrets.stream import MaskStream

__all__ = ["Level", "MaskStream", "SecretMasker", "mask_secrets", "mask_value", "masker"]
