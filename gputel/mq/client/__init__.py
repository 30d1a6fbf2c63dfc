"""The client of a broker: publish, consume, acknowledge.

``QueueClient`` is the client of one broker; ``gputel.mq.connect.connect`` makes one of several as
well.
"""

from gputel.mq.client.calls import ConsumeEnded, PublishIncomplete
from gputel.mq.client.client import MOST_REFUSALS, QueueClient
from gputel.mq.client.consumer import Message
from gputel.mq.wire.protocol import (
    Consumed,
    DeadLetter,
    Delivery,
    FailedDelivery,
    ItemResult,
    OutgoingMessage,
    Peeked,
    PublishResult,
)

__all__ = [
    "MOST_REFUSALS",
    "ConsumeEnded",
    "Consumed",
    "DeadLetter",
    "Delivery",
    "FailedDelivery",
    "ItemResult",
    "Message",
    "OutgoingMessage",
    "Peeked",
    "PublishIncomplete",
    "PublishResult",
    "QueueClient",
]
