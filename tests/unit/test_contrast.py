"""The contrastive loss against its definition, and its cached gradient against the plain one."""

from __future__ import annotations

import pytest
import torch

from vrag.training.contrast import cached_backward, contrast, mean_maxsim


def rows(lengths: list[int], seed: int) -> list[torch.Tensor]:
    made = torch.Generator().manual_seed(seed)
    return [torch.nn.functional.normalize(torch.randn(n, 6, generator=made), dim=-1) for n in lengths]


def test_mean_maxsim_of_ragged_vectors_is_its_definition() -> None:
    queries, pages = rows([1, 4, 2], 0), rows([3, 1, 7, 2], 1)
    expected = [[(q @ p.T).amax(1).mean() for p in pages] for q in queries]
    assert torch.allclose(mean_maxsim(queries, pages), torch.tensor(expected), atol=1e-6)


def test_the_loss_is_the_cross_entropy_over_the_pages_that_are_not_gold_too() -> None:
    queries, pages = rows([2, 3], 0), rows([3, 2, 4], 1)
    also = torch.tensor([[False, False, True], [False, False, False]])
    result = contrast(queries, pages, [0, 1], also, 0.1)
    scores = mean_maxsim(queries, pages) / 0.1
    first = torch.logsumexp(scores[0, :2], 0) - scores[0, 0]
    second = torch.logsumexp(scores[1], 0) - scores[1, 1]
    assert result.loss.item() == pytest.approx(((first + second) / 2).item(), abs=1e-5)
    assert result.first.tolist() == [bool(scores[0, 0] > scores[0, 1]), bool(scores[1].argmax() == 1)]


def test_the_cached_gradient_is_the_plain_one() -> None:
    layer = torch.nn.Linear(6, 6)
    queries, pages = rows([2, 3, 1], 0), rows([3, 2, 4, 5], 1)
    also = torch.zeros(3, 4, dtype=torch.bool)

    def loss(vectors: list[torch.Tensor]):  # type: ignore[no-untyped-def]
        return contrast(vectors[:3], vectors[3:], [0, 1, 3], also, 0.05)

    plain = loss([layer(one) for one in [*queries, *pages]])
    plain.loss.backward()
    expected = layer.weight.grad.clone()  # type: ignore[union-attr]
    layer.zero_grad()
    alive: list[int] = []

    def part(items: list[torch.Tensor]):  # type: ignore[no-untyped-def]
        def embed() -> list[torch.Tensor]:
            alive.append(len(items))
            return [layer(one) for one in items]

        return embed

    cached = cached_backward([part(queries), part(pages[:2]), part(pages[2:])], loss)
    assert torch.equal(cached.loss, plain.loss) and torch.equal(cached.first, plain.first)
    assert torch.allclose(layer.weight.grad, expected, atol=1e-6)  # type: ignore[arg-type]
    assert alive == [3, 2, 2] * 2, "each part twice, no more than one at a time"
