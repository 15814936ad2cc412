"""Files whose content was changed and whose checksum is right all the same: what a schema alone can refuse."""

from __future__ import annotations

import json
from typing import Any

from safetensors.numpy import load as unpack

from layerwise.persistence import files


def altered(file: bytes, change: Any, kind: str = files.MODEL) -> bytes:
    """A file with a right checksum whose configuration or arrays were changed."""
    length = int.from_bytes(file[:8], "little")
    text = json.loads(file[8 : 8 + length])["__metadata__"][kind]
    config, tensors = json.loads(text.split("\n", 2)[2]), dict(unpack(file))
    change(config, tensors)
    return files.pack(kind, json.dumps(config), tensors)


def assign(*path: Any) -> Any:
    """A change of the configuration: the value at the end of the path is put there."""
    *keys, last, value = path

    def change(config: Any, _: Any) -> None:
        for key in keys:
            config = config[key]
        config[last] = value

    return change
