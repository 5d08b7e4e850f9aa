"""One router a context, with its request and response models."""
