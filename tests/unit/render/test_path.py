from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.face.canonical import mouth_opening
from lipwright.render import path as module
from lipwright.render.path import (
    JUMP_COST,
    MIN_OPENING,
    STEP_COSTS,
    STRETCH,
    FrameFeatures,
    blend_runs,
    change_visibility,
    cheapest_path,
    fill_share,
    find_path,
    interior_change,
    jump_cost,
    match_cost,
    run_starts,
)
from lipwright.testing import synthetic_mouth


def rising(least=1, most=8):
    """Generate the source frames of a bank."""
    return st.sets(st.integers(0, 30), min_size=least, max_size=most).map(
        lambda s: np.array(sorted(s))
    )


def random_cost(frames, count, seed):
    return np.random.default_rng(seed).uniform(0, 5, (frames, count)).astype(np.float32)


def step_cost(source_frame, before, after):
    """Return the least cost of showing one exemplar after another."""
    return min(STEP_COSTS.get(int(source_frame[after] - source_frame[before]), np.inf), JUMP_COST)


def path_cost(cost, source_frame, path, after=None):
    total = sum(float(cost[t, i]) for t, i in enumerate(path))
    steps = list(pairwise(path))
    steps += [] if after is None else [(after, path[0])]
    return total + sum(step_cost(source_frame, a, b) for a, b in steps)


def features(openings, seed=0):
    """Return the features of frames with these mouth openings, all in one pose."""
    openings = np.asarray(openings, np.float32)
    return FrameFeatures(
        mouth=synthetic_mouth(openings),
        angles=np.zeros((len(openings), 3), np.float32),
        light=np.full(len(openings), 120, np.float32),
        source_frame=np.arange(len(openings), dtype=np.float32),
    )


def insides(*bright):
    """Return the visible interior of exemplars, each of one brightness."""
    return np.array(bright, np.float32)[:, None] * np.ones(21, np.float32)


# --------------------------------------------------------------------------------- cheapest_path
@given(rising(1, 4), st.integers(1, 4), st.integers(0, 10_000))
def test_cheapest_path_matches_brute_force(source_frame, frames, seed):
    cost = random_cost(frames, len(source_frame), seed)
    found = cheapest_path(cost, source_frame)
    best = min(
        path_cost(cost, source_frame, path)
        for path in product(range(len(source_frame)), repeat=frames)
    )
    assert path_cost(cost, source_frame, found) == pytest.approx(best, abs=1e-4)


@given(rising(2, 4), st.integers(1, 4), st.integers(0, 10_000))
def test_cheapest_path_matches_brute_force_after_a_given_exemplar(source_frame, frames, seed):
    cost, after = random_cost(frames, len(source_frame), seed), seed % len(source_frame)
    found = cheapest_path(cost, source_frame, previous=after)
    ways = product(range(len(source_frame)), repeat=frames)
    best = min(path_cost(cost, source_frame, path, after) for path in ways)
    assert path_cost(cost, source_frame, found, after) == pytest.approx(best, abs=1e-4)


@given(st.integers(20, 60), st.integers(2, 40), st.integers(0, 10_000))
def test_long_path_costs_no_more_than_any_single_run(count, frames, seed):
    source_frame, cost = np.arange(count), random_cost(frames, count, seed)
    found = path_cost(cost, source_frame, cheapest_path(cost, source_frame))
    for start in range(count):
        run = np.minimum(start + np.arange(frames), count - 1)
        assert found <= path_cost(cost, source_frame, run) + 1e-3
        assert found <= path_cost(cost, source_frame, np.full(frames, start)) + 1e-3


def test_one_run_continues_where_costs_differ_little():
    source_frame = np.arange(50)
    cost = np.full((30, 50), 1.0, np.float32) + random_cost(30, 50, 1) * 0.01
    found = cheapest_path(cost, source_frame)
    assert not run_starts(found, source_frame).any()


@pytest.mark.model
def test_at_most_a_tenth_of_the_frames_start_a_new_run():
    source_frame = np.arange(0, 150, 5)  # no two are neighbours: every change is a new run
    bank = replace(features(np.linspace(0, 0.12, 30)), source_frame=source_frame.astype(np.float32))
    wanted = features(0.06 + 0.06 * np.sin(np.arange(400) * 0.9))
    no_cost = np.zeros(30, np.float32)
    free = cheapest_path(match_cost(wanted, bank, no_cost), source_frame)
    assert run_starts(free, source_frame).mean() > 0.2
    path = find_path(wanted, bank, no_cost)
    assert 0 < run_starts(path, source_frame).mean() <= module.MAX_RUN_SHARE
    assert len(path) == 400


def test_new_run_starts_where_it_pays():
    source_frame = np.array([*range(10), *range(100, 110)])
    cost = np.full((12, 20), 9.0, np.float32)
    cost[np.arange(6), np.arange(6)] = 0
    cost[np.arange(6, 12), np.arange(10, 16)] = 0
    found = cheapest_path(cost, source_frame)
    assert found.tolist() == [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15]
    assert np.flatnonzero(run_starts(found, source_frame)).tolist() == [6]


def test_runs_consist_of_neighbours_in_the_source():
    source_frame = np.array([0, 1, 40, 41])
    assert run_starts(np.array([0, 1, 2, 3]), source_frame).tolist() == [False, False, True, False]
    assert run_starts(np.array([0, 0, 1, 0]), source_frame).tolist() == [False] * 4
    assert run_starts(np.array([2]), source_frame).tolist() == [False]


# ------------------------------------------------------------------------------------ match_cost
def test_each_frame_matches_itself_best():
    bank = features(np.linspace(0, 0.1, 12))
    table = match_cost(bank, bank, np.zeros(12, np.float32))
    assert table.shape == (12, 12)
    assert (table.argmin(1) == np.arange(12)).all()
    assert np.abs(np.diag(table)).max() < 0.05


def test_every_difference_costs():
    wanted, zero = features([0.05]), np.zeros(1, np.float32)
    same = float(match_cost(wanted, wanted, zero)[0, 0])

    def price_of(exemplar_cost=0.0, **changes):
        other = replace(wanted, **{k: v.astype(np.float32) for k, v in changes.items()})
        return float(match_cost(wanted, other, zero + np.float32(exemplar_cost))[0, 0])

    assert price_of(angles=wanted.angles + np.array([8, 0, 0])) > same + 1
    assert price_of(angles=wanted.angles + np.array([0, -8, 0])) > same + 1
    assert price_of(angles=wanted.angles + np.array([0, 0, 8])) == pytest.approx(
        same
    )  # the warp undoes roll
    assert price_of(light=wanted.light + 12) > same + 1
    assert price_of(source_frame=wanted.source_frame + 1000) > same + 0.5
    assert price_of(exemplar_cost=1.0) > same + 0.5


def with_opening(opening, z=0.0):
    """Return the features of one frame whose canonical mouth opening is *opening*."""
    frame = features([opening - rest_opening()])
    frame.mouth[:, :, 2] += np.float32(z)
    return frame


def rest_opening():
    return float(mouth_opening(features([0.0]).mouth)[0])


@pytest.mark.parametrize(
    ("changes", "cost"),
    [
        ({"yaw": 6}, 1),
        ({"yaw": -12}, 2),
        ({"pitch": 3}, 0.5),
        ({"light": 9}, 1.5),
        ({"light": -6}, 1),
        ({"source_frame": 200}, 0.5),
        ({"source_frame": -200}, 0.5),
        ({"source_frame": 900}, 1),  # at most
        ({"z": 0.03}, 1.5),  # every landmark is moved by 0.03, of which 0.02 cost one unit
    ],
)
def test_each_difference_costs_by_its_unit(changes, cost):
    target, other = with_opening(0.1), with_opening(0.1, z=changes.get("z", 0))
    target.angles[:] = [[10, -7, 3]]
    change = [[changes.get("yaw", 0), changes.get("pitch", 0), 0]]
    other = replace(
        other,
        angles=target.angles + np.array(change, np.float32),
        light=target.light + np.float32(changes.get("light", 0)),
        source_frame=target.source_frame + np.float32(changes.get("source_frame", 0)),
    )
    found = match_cost(target, other, np.zeros(1, np.float32))
    assert found[0, 0] == pytest.approx(cost, abs=0.06)  # equal shapes cost a little by rounding


@pytest.mark.parametrize(
    ("wanted", "given_", "cost"),
    [
        (0.08, 0.079, 0),  # a lack within the tolerance
        (0.08, 0.06, 0.01 / 0.012),
        (0.08, 0.1, 0.02 / 0.025),
        (0.16, 0.2, 0.04 / 0.025 / 2),  # half as much in a mouth twice as wide
        (0.16, 0.13, 0.02 / 0.012 / 2),
        (0.02, 0.03, 0.01 / 0.015),  # closing
        (0.035, 0.045, 0.01 / 0.02),  # between closing and not
        (0.1, 0.04, 0.05 / 0.012 / 1.25 + 5),  # wholly synthetic
        (0.04, 0.1, 0.06 / 0.0216667 + 2.5),  # the same in a mouth that shows half of it
    ],
)
def test_opening_costs_by_lack_excess_and_synthetic_interior(wanted, given_, cost):
    target, bank = with_opening(wanted), with_opening(given_)
    distance = np.sqrt(((target.mouth - bank.mouth) ** 2).sum() / 61) / 0.02
    found = match_cost(target, bank, np.zeros(1, np.float32))[0, 0]
    assert found - distance == pytest.approx(cost, abs=0.05)


def test_shape_cost_is_that_of_each_pair():
    target, bank = features([0.02, 0.1, 0.06]), features([0.1, 0.02])
    random = np.random.default_rng(1)
    for frames in (target, bank):
        frames.mouth[:, 45:] += random.normal(0, 0.03, (len(frames), 16, 3)).astype(np.float32)
    same_mouth = [replace(f, mouth=np.zeros_like(f.mouth)) for f in (target, bank)]
    apart = target.mouth[:, None] - bank.mouth[None]
    rms = np.sqrt((apart**2).sum((2, 3)) / 61)
    cost, rest = (
        match_cost(t, b, np.zeros(2, np.float32)) for t, b in ((target, bank), same_mouth)
    )
    assert (cost - rest - rms / 0.02 > -0.02).all()  # what remains is the cost of openings
    assert (cost - rest)[0, 1] == pytest.approx(rms[0, 1] / 0.02, abs=0.02)  # equal openings
    assert (cost - rest)[1, 0] == pytest.approx(rms[1, 0] / 0.02, abs=0.02)


def test_lack_of_opening_costs_more_than_excess():
    wanted, bank = features([0.05]), features([0.02, 0.08])
    less, more = match_cost(wanted, bank, np.zeros(2, np.float32))[0]
    assert less > more + 0.2


def test_same_difference_costs_less_in_a_wide_mouth():
    zero = np.zeros(1, np.float32)
    for off in (-0.02, 0.02):
        small, wide = (
            float(match_cost(features([want]), features([want + off]), zero)[0, 0])
            for want in (0.05, 0.2)
        )
        assert wide < 0.8 * small


def test_excess_costs_more_where_the_lips_close():
    rest = float(mouth_opening(synthetic_mouth(np.zeros(1, np.float32)))[0])
    shut, open_ = match_cost(
        features([-rest]), features([-rest, 0.04 - rest]), np.zeros(2, np.float32)
    )[0]
    ajar, wide = match_cost(features([0.08]), features([0.08, 0.12]), np.zeros(2, np.float32))[0]
    assert open_ - shut > 1.3 * (wide - ajar)


def test_synthetic_interior_costs_extra():
    per_gap = [
        float(match_cost(features([0.1]), features([given]), np.zeros(1, np.float32))[0, 0])
        / (0.1 - given)
        for given in (0.08, 0.02)
    ]
    assert per_gap[1] > 1.2 * per_gap[0]


# ------------------------------------------------------------------------------------ fill_share
gaps = st.floats(0, 0.4)


@given(gaps, gaps, st.floats(0, 0.1))
def test_fill_share_grows_with_the_difference(wanted, given_, more):
    built = fill_share(wanted, given_)
    assert 0 <= built <= 1
    assert built == pytest.approx(fill_share(given_, wanted), abs=1e-6)
    if wanted >= given_:
        assert fill_share(wanted + more, given_) >= built


@given(gaps, gaps)
def test_fill_share_is_0_for_similar_and_1_for_distant_openings(wanted, given_):
    factor = max(wanted, MIN_OPENING) / max(given_, MIN_OPENING)
    if 1 / STRETCH[0] <= factor <= STRETCH[0]:
        assert fill_share(wanted, given_) == pytest.approx(0, abs=1e-6)
    if factor >= STRETCH[1] or factor <= 1 / STRETCH[1]:
        assert fill_share(wanted, given_) == pytest.approx(1)


@pytest.mark.parametrize(("factor", "share"), [(1.5125, 0.15625), (1.675, 0.5), (1.8375, 0.84375)])
def test_fill_share_is_a_smoothstep(factor, share):
    assert fill_share(0.1 * factor, 0.1) == pytest.approx(share, abs=1e-3)
    assert fill_share(0.1, 0.1 * factor) == pytest.approx(share, abs=1e-3)


# --------------------------------------------------------------------------------------- windows
def test_long_sequence_is_processed_in_windows(monkeypatch):
    random = np.random.default_rng(0)
    bank = features(random.uniform(0, 0.1, 60))
    wanted = features(0.05 + 0.05 * np.sin(np.arange(230) / 3))
    exemplar_cost, source_frame = np.zeros(60, np.float32), np.arange(60)
    whole = find_path(wanted, bank, exemplar_cost)
    monkeypatch.setattr(module, "WINDOW_FRAMES", 40)
    monkeypatch.setattr(module, "LOOK_AHEAD_FRAMES", 10)
    sizes = []
    monkeypatch.setattr(
        module, "match_cost", lambda w, *rest: sizes.append(len(w)) or match_cost(w, *rest)
    )
    parts = find_path(wanted, bank, exemplar_cost)
    assert len(parts) == len(whole) == 230
    assert max(sizes) <= 50
    table = match_cost(wanted, bank, exemplar_cost)
    assert path_cost(table, source_frame, parts) <= 1.05 * path_cost(table, source_frame, whole)


def test_path_of_one_frame_and_of_one_exemplar():
    zero = np.zeros(1, np.float32)
    assert find_path(features([0.05]), features([0.0]), zero).tolist() == [0]
    assert find_path(features([0.05] * 7), features([0.0]), zero).tolist() == [0] * 7


def test_each_window_starts_from_the_last_exemplar_of_the_one_before(monkeypatch):
    monkeypatch.setattr(module, "WINDOW_FRAMES", 5)
    monkeypatch.setattr(module, "LOOK_AHEAD_FRAMES", 2)
    given_, lengths = [], []

    def spy(cost, source_frame, **options):
        given_.append(options["previous"])
        lengths.append(len(cost))
        return cheapest_path(cost, source_frame, **options)

    monkeypatch.setattr(module, "cheapest_path", spy)
    bank = features(np.linspace(0, 0.1, 12))
    path = find_path(bank, bank, np.zeros(12, np.float32))
    assert path.tolist() == list(range(12))
    assert given_ == [None, 4, 9]
    assert lengths == [7, 7, 2]


@pytest.mark.parametrize(
    ("frames", "runs", "calls"),
    [
        (5, [2, 1, 0], 2),  # one new run is always allowed
        (50, [6, 5, 4], 2),  # a tenth of the frames
        (40, [9] * 9, 7),  # the last raise counts, whatever it leaves
        (300, [15], 1),  # frames beyond the window do not count
    ],
)
def test_new_runs_become_dearer_until_there_are_few(monkeypatch, frames, runs, calls):
    factors = []

    def path_with_runs(cost, source_frame, *, jump_factor, **_):
        factors.append(jump_factor)
        path = np.zeros(frames, np.int64)
        path[2 : 2 + runs[len(factors) - 1]] = np.arange(1, runs[len(factors) - 1] + 1)
        path[2 + runs[len(factors) - 1] :] = path[1 + runs[len(factors) - 1]]
        return path

    monkeypatch.setattr(module, "cheapest_path", path_with_runs)
    source_frame = np.arange(0, 600, 10)
    path = module._limit_runs(
        np.zeros((frames, 60), np.float32),
        source_frame,
        visibility=np.ones(frames, np.float32),
        interior=None,
        previous=None,
    )
    assert factors == pytest.approx([1.4**k for k in range(calls)])
    assert run_starts(path, source_frame).sum() == runs[calls - 1]
    assert len(path) == min(frames, 150)


def test_new_run_right_after_the_window_before_counts(monkeypatch):
    factors = []

    def steady(cost, source_frame, *, jump_factor, **_):
        factors.append(jump_factor)
        return np.array([1, 1, 2, 2])

    monkeypatch.setattr(module, "cheapest_path", steady)
    for previous, calls in ((None, 1), (1, 1), (0, 7)):
        factors.clear()
        module._limit_runs(
            np.zeros((4, 3), np.float32),
            np.array([0, 50, 100]),
            visibility=np.ones(4, np.float32),
            interior=None,
            previous=previous,
        )
        assert len(factors) == calls


# ------------------------------------------------------------------------------------ blend_runs
@given(rising(1, 12), st.lists(st.integers(0, 11), min_size=1, max_size=30))
def test_shares_add_up_to_1_and_the_path_dominates(source_frame, wishes):
    path = np.array([i % len(source_frame) for i in wishes])
    mixes = list(blend_runs(path, source_frame))
    assert len(mixes) == len(path)
    for t, mix in enumerate(mixes):
        assert sum(share for _, share in mix) == pytest.approx(1)
        assert all(share > 0 and 0 <= i < len(source_frame) for i, share in mix)
        assert len({i for i, _ in mix}) == len(mix)
        assert dict(mix)[int(path[t])] >= 0.5 - 1e-9


def test_one_exemplar_shows_inside_a_run():
    source_frame = np.arange(20)
    assert list(blend_runs(np.arange(3, 12), source_frame)) == [[(i, 1.0)] for i in range(3, 12)]


def test_runs_dissolve_into_each_other_while_playing_on():
    source_frame = np.array([*range(10), *range(50, 60)])
    mixes = [dict(m) for m in blend_runs(np.array([2, 3, 4, 12, 13, 14]), source_frame)]
    assert mixes[1] == {3: 1.0}
    assert mixes[2] == pytest.approx({4: 0.75, 11: 0.25})  # the next run, one frame early
    assert mixes[3] == pytest.approx({12: 0.75, 5: 0.25})  # the last run, continued
    assert mixes[4] == {13: 1.0}


def test_run_that_fades_in_plays_from_before_its_start():
    mixes = [dict(m) for m in blend_runs(np.array([2, 3, 1]), np.array([0, 1, 50, 51]))]
    assert mixes[1] == pytest.approx({3: 0.75, 0: 0.25})
    assert mixes[2] == pytest.approx({1: 0.75, 3: 0.25})  # the bank has no frame 52


def test_run_holds_where_the_bank_ends():
    source_frame = np.array([0, 1, 50, 51])
    mixes = [dict(m) for m in blend_runs(np.array([0, 1, 2, 3]), source_frame)]
    assert mixes[1] == pytest.approx({1: 0.75, 2: 0.25})
    assert mixes[2] == pytest.approx({2: 0.75, 1: 0.25})


# ------------------------------------------------------------------------- visibility of new runs
@given(rising(), st.integers(1, 6), st.integers(0, 1000))
def test_cheapest_path_matches_brute_force_with_interior_and_visibility(source_frame, frames, seed):
    random = np.random.default_rng(seed)
    cost = random_cost(frames, len(source_frame), seed)
    inside = random.uniform(0, 1, (len(source_frame), 4)).astype(np.float32)
    visibility = random.random(frames).astype(np.float32)
    apart = interior_change(inside, inside)

    def whole(path):
        total = sum(float(cost[t, i]) for t, i in enumerate(path))
        for t, (a, b) in enumerate(pairwise(path), 1):
            source = int(source_frame[b] - source_frame[a])
            shown = 0 if source == 1 else module.INTERIOR_COST * float(visibility[t]) * apart[a, b]
            step = STEP_COSTS.get(source, np.inf) + shown
            total += min(step, float(jump_cost(float(visibility[t]), apart[a, b])))
        return total

    found = whole(cheapest_path(cost, source_frame, visibility=visibility, interior=inside))
    ways = (
        product(range(len(source_frame)), repeat=frames)
        if len(source_frame) ** frames < 3000
        else ()
    )
    assert found <= min((whole(w) for w in ways), default=np.inf) + 1e-3


def test_interior_change_within_the_tolerance_is_0():
    inside = np.array([[0.2, 0.2], [0.25, 0.15], [1.0, 0.2]], np.float32)
    apart = interior_change(inside, inside)
    assert apart == pytest.approx(apart.T)
    assert np.diag(apart).max() == apart[0, 1] == 0
    assert apart[0, 2] == pytest.approx(0.8 / np.sqrt(2) - module.INTERIOR_TOLERANCE, abs=1e-4)


def test_runs_change_between_closed_lips():
    """Both exemplars cost the same between the ends, so only visibility decides the moment."""
    cost = np.full((9, 2), 1, np.float32)
    cost[0, 1] = cost[-1, 0] = 50
    visibility = np.ones(9, np.float32)
    visibility[4] = 0
    path = cheapest_path(cost, np.array([0, 20]), visibility=visibility)
    assert path.tolist() == [0] * 4 + [1] * 5


def test_of_equal_runs_the_one_with_the_same_interior_follows():
    cost = np.zeros((4, 3), np.float32)
    cost[0, 1:] = cost[2:, 0] = 50
    path = cheapest_path(
        cost, np.array([0, 20, 40]), visibility=np.ones(4, np.float32), interior=insides(1, 0, 1)
    )
    assert path[-1] == 2


def test_teeth_do_not_appear_for_a_single_frame():
    cost = np.full((5, 3), 0.5, np.float32)
    cost[2, 1] = 0  # a little better, for one frame
    path = cheapest_path(
        cost,
        np.array([7, 8, 9]),
        visibility=np.ones(5, np.float32),
        interior=insides(1, 0, 0),
        previous=0,
    )
    shown = np.array([1, 0, 0])[path]
    assert (np.diff(shown) != 0).sum() <= 1


def test_change_is_visible_where_the_mouth_is_open_before_and_after():
    rest = float(mouth_opening(synthetic_mouth(np.zeros(1, np.float32)))[0])
    visibility = change_visibility(features([0.1, 0.1, -rest, -rest, 0.1, 0.04 - rest, 0.1]))
    assert visibility[:2].min() > 0.9  # the frame before the first is unknown
    assert visibility[2:5].max() < 0.1  # closing and opening hide it
    assert 0.4 < visibility[5] < 0.9
    assert visibility[6] == visibility[5]
    assert change_visibility(features([0.05])).shape == (1,)
    assert change_visibility(features([0.2])).tolist() == [1]


def test_new_run_starts_from_a_dearer_exemplar_with_the_same_interior():
    cost = np.full((2, 3), 50, np.float32)
    cost[0, :2], cost[1, 2] = (0, 2), 0
    path = cheapest_path(
        cost,
        np.array([0, 20, 40]),
        visibility=np.ones(2, np.float32),
        interior=insides(0, 1, 1),
    )
    assert path.tolist() == [1, 2]


def test_new_runs_start_from_the_cheapest_exemplars_only():
    best = np.random.default_rng(0).permutation(3000).astype(np.float64)
    assert sorted(best[module._jump_origins(best, np.inf)]) == list(range(module.JUMP_ORIGINS))
    assert sorted(best[module._jump_origins(best, 2.5)]) == [0, 1, 2]
    assert module._jump_origins(np.array([3.0]), 0.0).tolist() == [0]


def test_steps_inside_a_run_cost_by_their_length_and_visible_change():
    source_frame, interior = np.array([4, 5, 6, 9]), insides(1.0, 0.5, 0.2, 0.9)
    steps = dict(zip(STEP_COSTS, module._run_steps(source_frame, interior), strict=True))
    origin, cost, change = steps[2]
    assert origin[2] == 0
    assert cost == pytest.approx([np.inf, np.inf, 0.3, np.inf])
    assert change[2] == pytest.approx(0.8 - 0.12)
    origin, cost, change = steps[-1]
    assert origin[:2].tolist() == [1, 2]
    assert cost == pytest.approx([0.4, 0.4, np.inf, np.inf])
    assert change[:2] == pytest.approx([0.5 - 0.12, 0.3 - 0.12])
    origin, cost, change = steps[1]
    assert origin[1:3].tolist() == [0, 1]
    assert not change.any()  # the footage's own motion
