from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest

from lipwright.errors import WeightsCorrupt, WeightsMissing
from lipwright.face.landmarker import FaceLandmarker
from lipwright.face.occlusion import OcclusionDetector
from lipwright.speech.activity import speech_activity
from lipwright.speech.encoder import SpeechEncoder
from lipwright.weights import store as store_module
from lipwright.weights.manifest import MANIFEST
from lipwright.weights.store import FILES, WeightStore, onnx_session, sha256

pytestmark = pytest.mark.model  # slow

ROOT = Path(__file__).parents[3]
SMALL = "face_detector"
MEGABYTE = 1_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(FILES / MANIFEST[SMALL].file, tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", MANIFEST)
def test_vendored_file_matches_the_manifest(name: str):
    path = WeightStore().path(name)
    assert path.stat().st_size == MANIFEST[name].size
    assert sha256(path) == MANIFEST[name].sha256


@pytest.mark.parametrize("name", MANIFEST)
def test_weight_has_name_description_origin_and_licence(name: str):
    weight = MANIFEST[name]
    assert weight.name == name
    assert weight.description
    assert weight.origin
    assert weight.licence
    assert weight.url.startswith("https://") or weight.origin.startswith("lipwright")


@pytest.mark.parametrize("name", MANIFEST)
def test_weight_has_licence_and_notice_files(name: str):
    assert MANIFEST[name].notices
    for notice in MANIFEST[name].notices:
        assert (FILES / notice).read_text().strip()


def test_folder_holds_only_files_of_the_manifest():
    known = {weight.file for weight in MANIFEST.values()}
    known.update(notice for weight in MANIFEST.values() for notice in weight.notices)
    assert {path.name for path in FILES.iterdir() if path.name != "__pycache__"} == known


def test_vendored_weights_stay_small():
    assert sum(weight.size for weight in MANIFEST.values()) <= 60 * MEGABYTE


def test_manifest_lists_the_networks_of_a_job():
    names = {"face_detector", "face_landmarks", "face_blendshapes"}
    assert names | {"whisper_base_encoder", "speech_centre", "silero_vad"} <= set(MANIFEST)


def test_unknown_name_raises_and_lists_known_names(folder: Path):
    with pytest.raises(WeightsMissing, match=rf"'nonsense'.*{SMALL}"):
        WeightStore(folder).path("nonsense")


def test_absent_file_raises_with_its_name(tmp_path: Path):
    with pytest.raises(WeightsMissing, match=MANIFEST[SMALL].file) as caught:
        WeightStore(tmp_path).path(SMALL)
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_one_wrong_byte_is_corrupt(folder: Path):
    path = folder / MANIFEST[SMALL].file
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsCorrupt, match=path.name):
        WeightStore(folder).path(SMALL)


def test_truncated_file_is_corrupt(folder: Path):
    path = folder / MANIFEST[SMALL].file
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsCorrupt, match=str(MANIFEST[SMALL].size)):
        WeightStore(folder).path(SMALL)


def test_restored_file_is_found(folder: Path):
    path = folder / MANIFEST[SMALL].file
    path.rename(folder / "moved")
    with pytest.raises(WeightsMissing):
        WeightStore(folder).path(SMALL)
    (folder / "moved").rename(path)
    assert WeightStore(folder).path(SMALL) == path


def test_file_is_verified_only_once(folder: Path, monkeypatch: pytest.MonkeyPatch):
    seen = []
    monkeypatch.setattr(store_module, "sha256", lambda path: seen.append(path) or sha256(path))
    for _ in range(3):
        WeightStore(folder).path(SMALL)
    assert len(seen) == 1


def test_used_lists_the_weights_handed_out(folder: Path):
    store = WeightStore(folder)
    assert store.used() == {}
    store.path(SMALL)
    assert store.used() == {SMALL: MANIFEST[SMALL].sha256}


def test_file_that_is_no_network_is_corrupt(tmp_path: Path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a network")
    with pytest.raises(WeightsCorrupt, match=r"broken\.onnx"):
        onnx_session(path)


def test_update_manifest_rewrites_one_entry():
    spec = importlib.util.spec_from_file_location("update", ROOT / "scripts/update_manifest.py")
    assert spec is not None
    assert spec.loader is not None
    update = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(update)
    source = (ROOT / "src/lipwright/weights/manifest.py").read_text()
    changed = update.rewrite(source, SMALL, 1, "ab" * 32)
    for name, weight in MANIFEST.items():
        assert (weight.sha256 in changed) == (name != SMALL)
        source = update.rewrite(source, name, weight.size, weight.sha256)
    assert source == (ROOT / "src/lipwright/weights/manifest.py").read_text()
    with pytest.raises(SystemExit, match="nonsense"):
        update.rewrite(source, "nonsense", 1, "")


@pytest.mark.parametrize(
    ("load", "names"),
    [
        (FaceLandmarker, {"face_detector", "face_landmarks"}),
        (OcclusionDetector, {"occlusion", "mouth_pattern"}),
        (SpeechEncoder, {"whisper_base_encoder", "speech_centre"}),
        (lambda store: speech_activity(np.zeros(0, np.float32), store), {"silero_vad"}),
    ],
    ids=["landmarker", "occlusion", "encoder", "activity"],
)
def test_models_record_their_weights_in_the_store_they_are_given(load, names: set[str]):
    store = WeightStore()
    load(store)
    assert set(store.used()) == names
