from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.face.shape import opening
from lipwright.render import path as module
from lipwright.render.path import (
    JUMP_COST,
    OPEN,
    STEP_COSTS,
    STRETCH,
    Look,
    blend_runs,
    built_share,
    changes,
    cheapest,
    costs,
    find_path,
    jump_cost,
    jumps,
    visibility,
)
from lipwright.testing import synthetic_mouth


def rising(least=1, most=8):
    """Source frames of a bank."""
    return st.sets(st.integers(0, 30), min_size=least, max_size=most).map(
        lambda s: np.array(sorted(s))
    )


def grid(frames, count, seed):
    return np.random.default_rng(seed).uniform(0, 5, (frames, count)).astype(np.float32)


def move(index, before, after):
    """The least cost of showing one exemplar after another."""
    return min(STEP_COSTS.get(int(index[after] - index[before]), np.inf), JUMP_COST)


def price(cost, index, way, after=None):
    total = sum(float(cost[t, i]) for t, i in enumerate(way))
    steps = list(pairwise(way))
    steps += [] if after is None else [(after, way[0])]
    return total + sum(move(index, a, b) for a, b in steps)


def looks(openings, seed=0):
    """What frames with these openings of the mouth look like, in one steady pose."""
    openings = np.asarray(openings, np.float32)
    return Look(
        mouth=synthetic_mouth(openings),
        angles=np.zeros((len(openings), 3), np.float32),
        light=np.full(len(openings), 120, np.float32),
        index=np.arange(len(openings), dtype=np.float32),
    )


def insides(*bright):
    """What shows between the lips of exemplars: all bright, or all dark."""
    return np.array(bright, np.float32)[:, None] * np.ones(21, np.float32)


# -------------------------------------------------------------------------------------- cheapest
@given(rising(1, 4), st.integers(1, 4), st.integers(0, 10_000))
def test_no_path_is_cheaper(index, frames, seed):
    cost = grid(frames, len(index), seed)
    found = cheapest(cost, index)
    best = min(price(cost, index, way) for way in product(range(len(index)), repeat=frames))
    assert price(cost, index, found) == pytest.approx(best, abs=1e-4)


@given(rising(2, 4), st.integers(1, 4), st.integers(0, 10_000))
def test_no_path_is_cheaper_after_a_given_exemplar(index, frames, seed):
    cost, after = grid(frames, len(index), seed), seed % len(index)
    found = cheapest(cost, index, after=after)
    ways = product(range(len(index)), repeat=frames)
    best = min(price(cost, index, way, after) for way in ways)
    assert price(cost, index, found, after) == pytest.approx(best, abs=1e-4)


@given(st.integers(20, 60), st.integers(2, 40), st.integers(0, 10_000))
def test_a_long_path_is_no_worse_than_any_single_run(count, frames, seed):
    index, cost = np.arange(count), grid(frames, count, seed)
    found = price(cost, index, cheapest(cost, index))
    for start in range(count):
        run = np.minimum(start + np.arange(frames), count - 1)
        assert found <= price(cost, index, run) + 1e-3
        assert found <= price(cost, index, np.full(frames, start)) + 1e-3


def test_one_run_is_kept_where_frames_differ_little():
    index = np.arange(50)
    cost = np.full((30, 50), 1.0, np.float32) + grid(30, 50, 1) * 0.01
    found = cheapest(cost, index)
    assert not jumps(found, index).any()


def test_no_more_than_a_tenth_of_the_frames_start_a_new_run():
    index = np.arange(0, 150, 5)  # no two are neighbours: every change is a new run
    bank = replace(looks(np.linspace(0, 0.12, 30)), index=index.astype(np.float32))
    wanted = looks(0.06 + 0.06 * np.sin(np.arange(400) * 0.9))
    calm = np.zeros(30, np.float32)
    free = cheapest(costs(wanted, bank, calm), index)
    assert jumps(free, index).mean() > 0.2
    path = find_path(wanted, bank, calm)
    assert 0 < jumps(path, index).mean() <= module.MOST_RUNS
    assert len(path) == 400


def test_a_jump_is_made_where_it_pays():
    index = np.array([*range(10), *range(100, 110)])
    cost = np.full((12, 20), 9.0, np.float32)
    cost[np.arange(6), np.arange(6)] = 0
    cost[np.arange(6, 12), np.arange(10, 16)] = 0
    found = cheapest(cost, index)
    assert found.tolist() == [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15]
    assert np.flatnonzero(jumps(found, index)).tolist() == [6]


def test_neighbours_in_the_bank_that_are_none_in_the_source_make_no_run():
    index = np.array([0, 1, 40, 41])
    assert jumps(np.array([0, 1, 2, 3]), index).tolist() == [False, False, True, False]
    assert jumps(np.array([0, 0, 1, 0]), index).tolist() == [False] * 4
    assert jumps(np.array([2]), index).tolist() == [False]


# ----------------------------------------------------------------------------------------- costs
def test_the_frame_itself_fits_best():
    bank = looks(np.linspace(0, 0.1, 12))
    table = costs(bank, bank, np.zeros(12, np.float32))
    assert table.shape == (12, 12)
    assert (table.argmin(1) == np.arange(12)).all()
    assert np.abs(np.diag(table)).max() < 0.05


def test_whatever_differs_costs():
    wanted, zero = looks([0.05]), np.zeros(1, np.float32)
    same = float(costs(wanted, wanted, zero)[0, 0])

    def price_of(faults=0.0, **changes):
        other = replace(wanted, **{k: v.astype(np.float32) for k, v in changes.items()})
        return float(costs(wanted, other, zero + np.float32(faults))[0, 0])

    assert price_of(angles=wanted.angles + np.array([8, 0, 0])) > same + 1
    assert price_of(angles=wanted.angles + np.array([0, -8, 0])) > same + 1
    assert price_of(angles=wanted.angles + np.array([0, 0, 8])) == pytest.approx(
        same
    )  # the warp turns it
    assert price_of(light=wanted.light + 12) > same + 1
    assert price_of(index=wanted.index + 1000) > same + 0.5
    assert price_of(faults=1.0) > same + 0.5


def test_a_mouth_not_open_enough_is_worse_than_one_too_open():
    wanted, bank = looks([0.05]), looks([0.02, 0.08])
    less, more = costs(wanted, bank, np.zeros(2, np.float32))[0]
    assert less > more + 0.2


def test_what_matters_to_a_small_mouth_matters_less_to_a_wide_one():
    zero = np.zeros(1, np.float32)
    for off in (-0.02, 0.02):
        small, wide = (
            float(costs(looks([want]), looks([want + off]), zero)[0, 0]) for want in (0.05, 0.2)
        )
        assert wide < 0.8 * small


def test_lips_that_shall_close_are_closed_rather_than_squeezed():
    rest = float(opening(synthetic_mouth(np.zeros(1, np.float32)))[0])
    shut, open_ = costs(looks([-rest]), looks([-rest, 0.04 - rest]), np.zeros(2, np.float32))[0]
    ajar, wide = costs(looks([0.08]), looks([0.08, 0.12]), np.zeros(2, np.float32))[0]
    assert open_ - shut > 1.3 * (wide - ajar)


def test_an_inside_that_would_have_to_be_built_costs_more_than_what_lacks():
    per_gap = [
        float(costs(looks([0.1]), looks([given]), np.zeros(1, np.float32))[0, 0]) / (0.1 - given)
        for given in (0.08, 0.02)
    ]
    assert per_gap[1] > 1.2 * per_gap[0]


# ----------------------------------------------------------------------------------------- share
gaps = st.floats(0, 0.4)


@given(gaps, gaps, st.floats(0, 0.1))
def test_more_is_built_the_more_is_lacking_or_too_much(wanted, given_, more):
    built = built_share(wanted, given_)
    assert 0 <= built <= 1
    assert built == pytest.approx(built_share(given_, wanted), abs=1e-6)
    if wanted >= given_:
        assert built_share(wanted + more, given_) >= built


@given(gaps, gaps)
def test_an_exemplar_near_enough_is_left_as_it_is(wanted, given_):
    factor = max(wanted, OPEN) / max(given_, OPEN)
    if 1 / STRETCH[0] <= factor <= STRETCH[0]:
        assert built_share(wanted, given_) == pytest.approx(0, abs=1e-6)
    if factor >= STRETCH[1] or factor <= 1 / STRETCH[1]:
        assert built_share(wanted, given_) == pytest.approx(1)


# --------------------------------------------------------------------------------------- windows
def test_a_long_script_is_worked_through_in_windows(monkeypatch):
    random = np.random.default_rng(0)
    bank = looks(random.uniform(0, 0.1, 60))
    wanted = looks(0.05 + 0.05 * np.sin(np.arange(230) / 3))
    faults, index = np.zeros(60, np.float32), np.arange(60)
    whole = find_path(wanted, bank, faults)
    monkeypatch.setattr(module, "WINDOW_FRAMES", 40)
    monkeypatch.setattr(module, "LOOK_AHEAD_FRAMES", 10)
    sizes = []
    monkeypatch.setattr(module, "costs", lambda w, *rest: sizes.append(len(w)) or costs(w, *rest))
    parts = find_path(wanted, bank, faults)
    assert len(parts) == len(whole) == 230
    assert max(sizes) <= 50
    table = costs(wanted, bank, faults)
    assert price(table, index, parts) <= 1.05 * price(table, index, whole)


def test_a_script_of_one_frame_and_a_bank_of_one_exemplar_have_a_path():
    zero = np.zeros(1, np.float32)
    assert find_path(looks([0.05]), looks([0.0]), zero).tolist() == [0]
    assert find_path(looks([0.05] * 7), looks([0.0]), zero).tolist() == [0] * 7


# -------------------------------------------------------------------------------------- dissolve
@given(rising(1, 12), st.lists(st.integers(0, 11), min_size=1, max_size=30))
def test_shares_add_up_to_one_and_the_path_leads(index, wish):
    path = np.array([i % len(index) for i in wish])
    mixes = list(blend_runs(path, index))
    assert len(mixes) == len(path)
    for t, mix in enumerate(mixes):
        assert sum(share for _, share in mix) == pytest.approx(1)
        assert all(share > 0 and 0 <= i < len(index) for i, share in mix)
        assert len({i for i, _ in mix}) == len(mix)
        assert dict(mix)[int(path[t])] >= 0.5 - 1e-9


def test_inside_a_run_one_exemplar_shows():
    index = np.arange(20)
    assert list(blend_runs(np.arange(3, 12), index)) == [[(i, 1.0)] for i in range(3, 12)]


def test_runs_give_way_to_each_other_and_go_on_meanwhile():
    index = np.array([*range(10), *range(50, 60)])
    mixes = [dict(m) for m in blend_runs(np.array([2, 3, 4, 12, 13, 14]), index)]
    assert mixes[1] == {3: 1.0}
    assert mixes[2] == pytest.approx({4: 0.75, 11: 0.25})  # the next run, one frame early
    assert mixes[3] == pytest.approx({12: 0.75, 5: 0.25})  # the last run, gone on
    assert mixes[4] == {13: 1.0}


def test_a_run_that_ends_with_the_bank_holds():
    index = np.array([0, 1, 50, 51])
    mixes = [dict(m) for m in blend_runs(np.array([0, 1, 2, 3]), index)]
    assert mixes[1] == pytest.approx({1: 0.75, 2: 0.25})
    assert mixes[2] == pytest.approx({2: 0.75, 1: 0.25})


# ------------------------------------------------------------------------------- where runs change
@given(rising(), st.integers(1, 6), st.integers(0, 1000))
def test_no_path_is_cheaper_where_insides_and_moments_differ(index, frames, seed):
    random = np.random.default_rng(seed)
    cost = grid(frames, len(index), seed)
    inside = random.uniform(0, 1, (len(index), 4)).astype(np.float32)
    seen = random.random(frames).astype(np.float32)
    apart = changes(inside, inside)

    def whole(way):
        total = sum(float(cost[t, i]) for t, i in enumerate(way))
        for t, (a, b) in enumerate(pairwise(way), 1):
            source = int(index[b] - index[a])
            shown = 0 if source == 1 else module.INSIDE_COST * float(seen[t]) * apart[a, b]
            step = STEP_COSTS.get(source, np.inf) + shown
            total += min(step, float(jump_cost(float(seen[t]), apart[a, b])))
        return total

    found = whole(cheapest(cost, index, seen=seen, inside=inside))
    ways = product(range(len(index)), repeat=frames) if len(index) ** frames < 3000 else ()
    assert found <= min((whole(w) for w in ways), default=np.inf) + 1e-3


def test_what_is_alike_inside_is_no_change():
    inside = np.array([[0.2, 0.2], [0.25, 0.15], [1.0, 0.2]], np.float32)
    apart = changes(inside, inside)
    assert apart == pytest.approx(apart.T)
    assert np.diag(apart).max() == apart[0, 1] == 0
    assert apart[0, 2] == pytest.approx(0.8 / np.sqrt(2) - module.ALIKE, abs=1e-4)


def test_runs_change_between_closed_lips_rather_than_open_ones():
    """Two exemplars; the second must be shown in the end, and no other moment is better."""
    cost = np.full((9, 2), 1, np.float32)
    cost[0, 1] = cost[-1, 0] = 50
    seen = np.ones(9, np.float32)
    seen[4] = 0
    path = cheapest(cost, np.array([0, 20]), seen=seen)
    assert path.tolist() == [0] * 4 + [1] * 5


def test_of_two_runs_that_fit_alike_the_one_with_the_same_teeth_follows():
    cost = np.zeros((4, 3), np.float32)
    cost[0, 1:] = cost[2:, 0] = 50
    path = cheapest(
        cost, np.array([0, 20, 40]), seen=np.ones(4, np.float32), inside=insides(1, 0, 1)
    )
    assert path[-1] == 2


def test_teeth_do_not_come_for_a_frame_by_going_to_and_fro():
    cost = np.full((5, 3), 0.5, np.float32)
    cost[2, 1] = 0  # a little better, for one frame
    path = cheapest(
        cost, np.array([7, 8, 9]), seen=np.ones(5, np.float32), inside=insides(1, 0, 0), after=0
    )
    shown = np.array([1, 0, 0])[path]
    assert (np.diff(shown) != 0).sum() <= 1


def test_a_change_is_seen_where_the_mouth_is_open_before_and_after():
    rest = float(opening(synthetic_mouth(np.zeros(1, np.float32)))[0])
    seen = visibility(looks([0.1, 0.1, -rest, -rest, 0.1, 0.04 - rest, 0.1]))
    assert seen[:2].min() > 0.9  # nothing is known of what came before the first frame
    assert seen[2:5].max() < 0.1  # closing and opening hide it
    assert 0.4 < seen[5] < 0.9
    assert seen[6] == seen[5]
    assert visibility(looks([0.05])).shape == (1,)
