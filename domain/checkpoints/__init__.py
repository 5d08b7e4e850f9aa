"""Checkpoints, which hold an agent's result back until a person has decided, and the assets that they are about."""

from domain.checkpoints.asset import Asset, AssetName, AssetStatus, MediaType, Size
from domain.checkpoints.checkpoint import Checkpoint, CheckpointStatus, Decision

__all__ = [
    "Asset",
    "AssetName",
    "AssetStatus",
    "Checkpoint",
    "CheckpointStatus",
    "Decision",
    "MediaType",
    "Size",
]
