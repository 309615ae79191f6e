"""Crops of pictures and of their maps agree, rates and shares add up, and processes learn one set of weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed
from torch.multiprocessing.spawn import spawn

from training.average import Average
from training.corpus import build, plain
from training.crops import Crops, jitter, random_crops, whole
from training.head import FOLDS, TeacherHead, fold_of, train_head
from training.image import Schedule, _portions
from training.learner import Learner
from training.teacher import uncompressed


def test_crop_of_a_map_is_the_map_of_the_crop() -> None:
    generator = torch.Generator().manual_seed(0)
    # A slope in both directions: what a crop holds tells where it was cut.
    slope = torch.linspace(0, 1, 96)
    pictures = torch.stack([slope[None, :].expand(96, 96), slope[:, None].expand(96, 96)]).expand(16, 2, 96, 96)
    maps = torch.nn.functional.avg_pool2d(pictures, 8)
    crops = random_crops(16, 0.5, generator)
    fine = torch.nn.functional.avg_pool2d(crops.cut(pictures, 96), 24)
    coarse = torch.nn.functional.avg_pool2d(crops.cut(maps, 12), 3)
    assert (fine - coarse).abs().max() < 0.04
    mirrored = crops.mirrored
    assert (fine[mirrored, 0, 0, 0] > fine[mirrored, 0, 0, -1]).all()
    assert (fine[~mirrored, 0, 0, 0] < fine[~mirrored, 0, 0, -1]).all()


def test_crop_takes_the_named_box() -> None:
    picture = torch.arange(16.0).reshape(1, 1, 4, 4)
    box = Crops(*(torch.tensor([value]) for value in (0.5, 0.0, 0.5, 0.5)), torch.tensor([False]))
    assert box.cut(picture, 2).flatten().tolist() == [2, 3, 6, 7]
    assert torch.equal(whole(1).cut(picture, 4), picture)


def test_jitter_keeps_pictures_in_range_and_takes_some_colours_away() -> None:
    pictures = torch.rand(200, 3, 4, 4)
    changed = jitter(pictures, 0.25, torch.Generator().manual_seed(0))
    assert changed.min() >= 0 and changed.max() <= 1
    grey = (changed.amax(1) - changed.amin(1)).amax(dim=(1, 2)) < 1e-6
    assert 5 <= int(grey.sum()) <= 40


def test_rate_rises_stays_and_falls_to_nothing() -> None:
    schedule = Schedule(samples=100_000, side=96, batch=100, rate=1.0, decay=0.25)
    assert schedule.rate_at(0) == pytest.approx(0.05)
    assert schedule.rate_at(30_000) == schedule.rate_at(74_000) == 1.0
    assert schedule.rate_at(87_500) == pytest.approx(0.5) and schedule.rate_at(100_000) == 0.0


def test_shares_fill_a_batch_and_none_goes_empty() -> None:
    assert _portions([32, 22, 24, 10], 88) == [32, 22, 24, 10]
    assert sum(_portions([5, 3, 3], 16)) == 16
    assert _portions([1000, 1], 10) == [9, 1]


def test_average_follows_the_weights_and_smooths_them() -> None:
    network = torch.nn.BatchNorm1d(1)
    average = Average(network, decay=0.9)
    values = []
    for step in range(300):
        with torch.no_grad():
            network.weight.fill_(float(step % 2))
        average.update(network)
        values.append(float(average.applied(network).weight.detach()))
    assert abs(values[-1] - 0.5) < 0.05 and float(network.weight.detach()) == 1.0


def test_corpus_holds_captions_as_people_type_them() -> None:
    texts = build(["A Dog 's bone , on grass ."], ["red panda"], None)
    assert plain("A Dog 's bone , on grass .") == "a dog's bone, on grass" and "a dog's bone, on grass" in texts
    assert "a photo of a red panda" in texts and len(texts) == len(set(texts)) > 20_000
    assert build(["A dog ."], ["cat"], None) == build(["A dog ."], ["cat"], None)


def _learn(rank: int, folder: Path, processes: int) -> None:
    torch.set_num_threads(1)
    if processes > 1:
        meeting = f"file://{folder / 'meeting'}"
        torch.distributed.init_process_group("gloo", meeting, rank=rank, world_size=processes)
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 1)
    groups = [{"params": list(network.parameters()), "weight_decay": 0.0, "factor": 1.0}]
    learner = Learner(network, groups, betas=(0.9, 0.999), most=100.0)
    data = torch.randn(20, 2, 3, generator=torch.Generator().manual_seed(1))
    for batch in data:
        # Two processes take one sample each of the two that a single process takes at once.
        own = batch if processes == 1 else batch[rank : rank + 1]
        learner.learn(network(own).square().mean(), rate=0.1, samples=len(own))
    torch.save({"weight": network.weight.detach(), "seen": learner.seen}, folder / f"{processes}-{rank}.pt")
    if processes > 1:
        torch.distributed.destroy_process_group()


def test_two_processes_learn_what_one_learns_from_all(tmp_path: Path) -> None:
    _learn(0, tmp_path, 1)
    spawn(_learn, (tmp_path, 2), nprocs=2)
    one, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("1-0", "2-0", "2-1"))
    assert one["seen"] == first["seen"] == second["seen"] == 40
    assert torch.allclose(one["weight"], first["weight"], atol=1e-5)
    assert torch.equal(first["weight"], second["weight"])


def test_checkpoint_goes_on_as_if_nothing_had_happened() -> None:
    def learner() -> tuple[torch.nn.Linear, Learner]:
        torch.manual_seed(0)
        network = torch.nn.Linear(2, 1)
        groups = [{"params": list(network.parameters()), "weight_decay": 0.1, "factor": 0.5}]
        return network, Learner(network, groups, betas=(0.9, 0.98), most=1.0)

    def steps(network: torch.nn.Linear, learner: Learner, n: int) -> None:
        for _ in range(n):
            learner.learn(network(torch.ones(4, 2)).square().mean(), rate=0.1, samples=4)

    straight, one = learner()
    steps(straight, one, 6)
    before, two = learner()
    steps(before, two, 3)
    after, three = learner()
    three.restore(two.state())
    steps(after, three, 3)
    assert torch.equal(straight.weight, after.weight) and three.seen == 24
    assert torch.equal(one.average.state["weight"], three.average.state["weight"])


def test_captioned_photo_has_its_target_from_a_network_that_never_saw_it() -> None:
    # Maps and captions without any relation: what is known of them is known by heart.
    torch.manual_seed(0)
    n = 64
    maps = torch.randint(-127, 128, (n, 24, 2, 2), dtype=torch.int8)
    captions = torch.nn.functional.normalize(torch.randn(n, 1, 16), dim=-1)
    head = TeacherHead(torch.ones(24), sentence_width=16)
    nothing = torch.zeros(0)
    train_head(head, maps, fold_of(n), captions, nothing, nothing, captions[:1], steps=300)
    pooled = uncompressed(maps).mean(dim=(2, 3))
    with torch.no_grad():
        wanted = head.text(captions[:, 0])
        own = head.image(pooled, fold_of(n))
        others = head.image(pooled, (fold_of(n) + 1) % FOLDS)
        assert torch.equal(head.image(pooled, torch.full((n,), -1)), head.image(pooled))
    rank = [
        ((found @ wanted.T).argsort(descending=True) == torch.arange(n)[:, None]).nonzero()[:, 1].float().mean()
        for found in (own, others)
    ]
    assert rank[0] > n / 3 and rank[1] < n / 4
