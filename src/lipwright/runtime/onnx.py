"""Import ONNX Runtime with its telemetry off."""

from __future__ import annotations

import os
from typing import Any

#: read by ONNX Runtime when it is imported; the call that it offers comes too late
TELEMETRY_SWITCH = "ORT_DISABLE_TELEMETRY"


def import_onnxruntime() -> Any:
    """Return the module ``onnxruntime``.

    It would write an id of the device to the user's cache, and send events to its maker.
    """
    os.environ[TELEMETRY_SWITCH] = "1"
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return onnxruntime
