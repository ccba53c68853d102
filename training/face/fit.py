"""Train the network to tell covered cells from free ones (stage ``fit``)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lipwright.face.appearance_model import AppearanceModel, cell_features, load_mouth_pattern
from lipwright.face.lower_face_raster import raster_layout
from lipwright.face.occlusion_input import CHANNELS, CellFrames, UnoccludedFace
from lipwright.types import Floats
from training.face import synthetic_takes
from training.face.dataset import FaceClip, draw_clips
from training.face.network import OcclusionNet
from training.face.synthetic_takes import SyntheticTake

VALIDATION_CLIPS = 40  # not trained on
REPEATS = {"misc": 8, "drawn": 4}  # how often clips count whose kinds are few, by start of the name
DRAWN_CLIPS = 6
TAKES_PER_STEP = 3
COVERED, FREE = 0.3, 0.04  # cover from which a cell is covered, and up to which it is free
COVERED_WEIGHT = 2.5  # of a covered cell in the loss; a free one has 1
KNOWN_MASK_SHARE = 0.15  # share of takes for which part of the true mask is given to the input
FIRST_PASS_WEIGHT = 0.5  # of the loss of the first pass, before the face is known well
REPORT_INTERVAL = 50  # steps

Weights = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of one training."""

    steps: int = 3400
    rate: float = 4e-3  #: highest learning rate
    seed: int = 0
    start_share: float = 0.0  #: share of the start network in the result, 0 to 1


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Takes of m frames together."""

    first: Tensor  #: (m, C, S, S) inputs of the first pass: the face is estimated from deviations
    second: Tensor  #: (m, C, S, S) inputs of the second pass: from the network's first output
    covered: Tensor  #: (m, S, S) 0 or 1
    weight: Tensor  #: (m, S, S) of each cell in the loss


def train(
    clips: list[FaceClip],
    recipe: Recipe,
    checkpoint: Path | None = None,
    start: Path | None = None,
) -> OcclusionNet:
    """Train the network; the same clips, recipe and number of threads give the same one.

    Args:
        clips: to train and validate on.
        recipe: settings.
        checkpoint: file in which the current weights are saved at intervals.
        start: checkpoint of an earlier training to continue from.
    """
    torch.manual_seed(recipe.seed)
    random = np.random.default_rng(recipe.seed)
    order = [clips[i] for i in random.permutation(len(clips))]
    validation, training = order[:VALIDATION_CLIPS], order[VALIDATION_CLIPS:]
    skins = [synthetic_takes.first_frame(c) for c in training]
    training = [*training, *draw_clips(DRAWN_CLIPS)]
    training = [c for c in training for _ in range(_repeats(c))]
    net: OcclusionNet = OcclusionNet(CHANNELS).to(memory_format=torch.channels_last)
    start_weights = torch.load(start) if start is not None else None
    if start_weights is not None:
        net.load_state_dict(start_weights)
    optimiser = torch.optim.AdamW(net.parameters(), recipe.rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, recipe.steps)
    validation_takes = [
        synthetic_takes.synthesise_take(np.random.default_rng(i), clip, skins)
        for i, clip in enumerate(validation)
    ]
    started, losses = time.monotonic(), list[float]()
    for step in range(1, recipe.steps + 1):
        some = [training[i] for i in random.integers(0, len(training), TAKES_PER_STEP)]
        takes = [synthetic_takes.synthesise_take(random, clip, skins) for clip in some]
        loss = compute_loss(net, make_batch(net, takes, random))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        if step % REPORT_INTERVAL == 0:
            seconds = time.monotonic() - started
            print(f"{step}: loss {np.mean(losses[-REPORT_INTERVAL:]):.4f}, {seconds:.0f} s")
            if checkpoint is not None:
                torch.save(net.state_dict(), checkpoint)
    if start_weights is not None:
        net.load_state_dict(blend_weights(net.state_dict(), start_weights, recipe.start_share))
    recall, false_positives = recall_and_false_positive_rate(net, validation_takes)
    print(f"validation: recall {recall:.3f}, false positive rate {false_positives:.4f}")
    net.eval()
    return net


def blend_weights(trained: Weights, start: Weights, start_share: float) -> Weights:
    """Return the weighted mean of the trained weights and those that the training started from.

    The mean finds nearly all that either network finds, with fewer false alarms (Wortsman et al.
    2022, "Model soups", arXiv:2203.05482).
    """
    return {
        name: torch.lerp(value.float(), start[name].float(), start_share).to(value.dtype)
        for name, value in trained.items()
    }


def make_batch(net: OcclusionNet, takes: list[SyntheticTake], random: np.random.Generator) -> Batch:
    """Compute the inputs of both passes, as the detector does, and the targets."""
    faces, seconds = [*_estimate_faces(takes, random)], list[Floats]()
    firsts = [face.network_input(face.frames, face.unoccluded) for face in faces]
    probabilities = _probabilities(net, firsts)
    for face, probability in zip(faces, probabilities, strict=True):
        refined = UnoccludedFace(frames=face.frames, unoccluded=1 - probability)
        seconds.append(refined.network_input(face.frames, refined.unoccluded))
    cover = np.concatenate([t.cover for t in takes])
    counts = np.concatenate([t.visible for t in takes]) & raster_layout().searched
    counts &= (cover < FREE) | (cover > COVERED)
    covered = (cover > COVERED).astype(np.float32)
    return Batch(
        first=_tensor(firsts),
        second=_tensor(seconds),
        covered=torch.from_numpy(covered),
        weight=torch.from_numpy(counts * (1 + (COVERED_WEIGHT - 1) * covered)),
    )


def compute_loss(net: OcclusionNet, batch: Batch) -> Tensor:
    """Return the weighted cross entropy of both passes."""
    net.train()
    parts = [
        functional.binary_cross_entropy_with_logits(
            net(inputs), batch.covered, batch.weight, reduction="sum"
        )
        / batch.weight.sum()
        for inputs in (batch.first, batch.second)
    ]
    return FIRST_PASS_WEIGHT * parts[0] + parts[1]


def recall_and_false_positive_rate(
    net: OcclusionNet, takes: list[SyntheticTake]
) -> tuple[float, float]:
    """Return the share of covered cells that is found, and that of free cells marked as covered."""
    batch = make_batch(net, takes, np.random.default_rng(0))
    (probabilities,) = _probabilities(net, [batch.second.numpy()])
    found, covered = probabilities > 0.5, batch.covered.numpy() > 0
    known = batch.weight.numpy() > 0
    return float(found[known & covered].mean()), float(found[known & ~covered].mean())


def _repeats(clip: FaceClip) -> int:
    return next((times for kind, times in REPEATS.items() if clip.name.startswith(kind)), 1)


def _estimate_faces(
    takes: list[SyntheticTake], random: np.random.Generator
) -> Iterator[UnoccludedFace]:
    """Yield the unoccluded face of each take, sometimes with part of the true mask."""
    mouth_pattern = load_mouth_pattern()
    for take in takes:
        features = cell_features(take.rasters)
        model = AppearanceModel.fit(features, take.predictors, take.visible, mouth_pattern)
        shot = np.zeros(len(features), np.int64)
        index = np.arange(len(features))
        frames = CellFrames.of(model, features, take.predictors, take.visible, shot, index)
        unoccluded = frames.unoccluded_by_deviation()
        if random.random() < KNOWN_MASK_SHARE:
            share = np.float32(random.random())
            unoccluded = share * (take.cover < COVERED) + (1 - share) * unoccluded
        yield UnoccludedFace(frames=frames, unoccluded=unoccluded)


def _probabilities(net: OcclusionNet, inputs: list[Floats]) -> list[Floats]:
    net.eval()
    with torch.no_grad():
        joined = torch.sigmoid(net(_tensor(inputs))).numpy()
    return np.split(joined, np.cumsum([len(x) for x in inputs])[:-1])


def _tensor(parts: list[Floats]) -> Tensor:
    joined = torch.from_numpy(np.concatenate(parts))
    return joined.contiguous(memory_format=torch.channels_last)
