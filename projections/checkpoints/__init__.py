"""Reviews and results as they are asked for: the inbox of decisions, one checkpoint, the files with their versions."""

from projections.checkpoints.assets import AssetVersion, AssetView, AssetViews, assets
from projections.checkpoints.reviews import CheckpointView, CheckpointViews, InboxItem, checkpoints, inbox

__all__ = [
    "AssetVersion",
    "AssetView",
    "AssetViews",
    "CheckpointView",
    "CheckpointViews",
    "InboxItem",
    "assets",
    "checkpoints",
    "inbox",
]
