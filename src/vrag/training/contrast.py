"""The contrastive loss of late interaction, and its gradient in the memory of a part of the batch.

Axes: Q queries, P pages, N vectors of a query, V of a page, D coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

FAR = -1e4  # in place of what a maximum or a softmax must not see; finite, so that no gradient is NaN


@dataclass(frozen=True)
class Contrast:
    """`loss` is the mean over the queries; `first` says of each whether its own page scores highest."""

    loss: Tensor
    first: Tensor


def mean_maxsim(queries: Sequence[Tensor], pages: Sequence[Tensor]) -> Tensor:
    """[Q, P] of `queries` [N, D] and `pages` [V, D]: for each vector of the query its best match on the page (ColBERT,
    arXiv 2004.12832, eq. 3), averaged over them, so that long queries aren't worth more.
    """
    asked, asked_mask = _padded(queries)
    shown, shown_mask = _padded(pages)
    matches = torch.einsum("qnd,pvd->qpnv", asked, shown).masked_fill(~shown_mask[None, :, None, :], FAR)
    best = matches.amax(-1) * asked_mask[:, None, :]
    return best.sum(-1) / asked_mask.sum(-1)[:, None]


def _padded(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(row) for row in rows], device=rows[0].device)
    padded = pad_sequence(list(rows), batch_first=True)
    return padded, torch.arange(padded.shape[1], device=padded.device)[None] < lengths[:, None]


def contrast(
    queries: Sequence[Tensor], pages: Sequence[Tensor], own: Sequence[int], also_gold: Tensor, temperature: float
) -> Contrast:
    """InfoNCE: query q against all pages, of which `own[q]` is the one to choose. Other pages that answer q too,
    `also_gold` [Q, P], are no negatives.
    """
    scores = (mean_maxsim(queries, pages) / temperature).masked_fill(also_gold, FAR)
    target = torch.tensor(list(own), device=scores.device)
    return Contrast(cross_entropy(scores, target), scores.argmax(1) == target)


def cached_backward(parts: Sequence[Callable[[], list[Tensor]]], loss: Callable[[list[Tensor]], Contrast]) -> Contrast:
    """Accumulate the gradient of `loss` over the vectors of all `parts`, holding the activations of one part alone:
    embed without a graph, differentiate by the vectors, embed again part by part (GradCache, arXiv 2101.06983). Each
    part must give the same vectors each time.
    """
    with torch.no_grad():
        made = [part() for part in parts]
    leaves = [[vectors.detach().requires_grad_() for vectors in part] for part in made]
    result = loss([vectors for part in leaves for vectors in part])
    result.loss.backward()
    for part, held in zip(parts, leaves, strict=True):
        again = part()
        torch.autograd.backward(again, [_gradient(leaf) for leaf in held])
    return result


def _gradient(leaf: Tensor) -> Tensor:
    assert leaf.grad is not None, "each vector takes part in the loss"
    return leaf.grad
