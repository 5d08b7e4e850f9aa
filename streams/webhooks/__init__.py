"""Tells webhooks of events: one process leads, a courier for each webhook, in order, at least once."""

from streams.webhooks.courier import Courier as Courier
from streams.webhooks.pace import WebhookPace as WebhookPace
from streams.webhooks.postman import Postman as Postman
from streams.webhooks.sending import Sender as Sender
from streams.webhooks.testing import WebhookTester as WebhookTester
