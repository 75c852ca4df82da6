"""The serializers that arq's users configure, by name."""

import json
import pickle
from functools import partial

import msgpack

SERIALIZERS = {
    "pickle": (None, None),
    "json": (lambda job: json.dumps(job).encode(), json.loads),
    "msgpack": (msgpack.packb, partial(msgpack.unpackb, raw=False)),
} | {f"pickle{n}": (partial(pickle.dumps, protocol=n), pickle.loads) for n in (2, 3, 4, 5)}
