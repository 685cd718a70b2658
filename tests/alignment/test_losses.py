"""The loss, computed by hand from the paper's equations with small round numbers."""

import math

import pytest
import torch
import torch.nn.functional as F

from mint_ray.alignment.losses import (
    dpo,
    listwise,
    log1mexp,
    log_odds,
    odds_ratio_loss,
    orpo,
    segment_mean,
    soft_list_loss,
    token_log_probs,
)

LOG = math.log


def test_the_odds_of_one_half_are_one_and_of_four_fifths_are_four():
    odds = log_odds(torch.tensor([LOG(0.5), LOG(0.8), LOG(0.2)]))
    # 0.5 / 0.5 = 1; 0.8 / 0.2 = 4; 0.2 / 0.8 = 1/4
    assert odds.tolist() == pytest.approx([0.0, LOG(4), -LOG(4)], abs=1e-6)


def test_the_odds_ratio_term_computed_on_paper():
    # odds 4 and 1/4: OR = 16, sigmoid(log 16) = 16 / 17
    loss, log_ratio = odds_ratio_loss(torch.tensor([LOG(0.8)]), torch.tensor([LOG(0.2)]))
    assert log_ratio.item() == pytest.approx(LOG(16), rel=1e-6)
    assert loss.item() == pytest.approx(-LOG(16 / 17), rel=1e-5)


def test_answers_that_are_equally_likely_cost_log_two():
    loss, _ = odds_ratio_loss(torch.tensor([-3.0]), torch.tensor([-3.0]))
    assert loss.item() == pytest.approx(LOG(2), rel=1e-6)


def test_the_whole_loss_is_the_nll_of_the_chosen_answer_plus_beta_times_the_odds_ratio_term():
    terms = orpo(torch.tensor([LOG(0.8)]), torch.tensor([LOG(0.2)]), beta=0.1)
    assert terms.nll.item() == pytest.approx(-LOG(0.8), rel=1e-6)
    assert terms.loss.item() == pytest.approx(-LOG(0.8) - 0.1 * LOG(16 / 17), rel=1e-6)


def test_the_gradient_of_the_odds_ratio_term_is_the_papers():
    # d/d log p of -log sigmoid(log OR) is -(1 - sigmoid) / (1 - p) = -(1/17) / (1 - 0.8) for the chosen answer
    chosen = torch.tensor([LOG(0.8)], requires_grad=True)
    rejected = torch.tensor([LOG(0.2)], requires_grad=True)
    odds_ratio_loss(chosen, rejected)[0].sum().backward()
    assert chosen.grad.item() == pytest.approx(-1 / 17 / 0.2, rel=1e-5)
    assert rejected.grad.item() == pytest.approx(1 / 17 / 0.8, rel=1e-5)


def test_dpo_computed_on_paper():
    # gains of 2 and of -1 nat, beta 0.5: margin 1.5
    terms = dpo(*(torch.tensor([x]) for x in (-3.0, -8.0, -5.0, -7.0)), beta=0.5)
    assert (terms.chosen_reward.item(), terms.rejected_reward.item()) == (1.0, -0.5)
    assert terms.loss.item() == pytest.approx(LOG(1 + math.exp(-1.5)), rel=1e-6)


def test_log1mexp_is_exact_where_the_plain_formula_loses_everything():
    x = torch.tensor([-1e-6, -1e-3, -LOG(2), -5.0, -100.0])
    exact = [math.log(-math.expm1(v)) if v > -50 else -math.exp(v) for v in x.double().tolist()]
    assert log1mexp(x).tolist() == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("log_prob", [0.0, -1e-9, -1e-4, -20.0, -500.0])
def test_values_and_gradients_stay_finite_for_certain_and_for_impossible_answers(log_prob):
    chosen = torch.tensor([log_prob], requires_grad=True)
    terms = orpo(chosen, torch.tensor([-1.0]), beta=0.1)
    terms.loss.sum().backward()
    assert torch.isfinite(terms.loss).all() and torch.isfinite(chosen.grad).all()


def test_the_log_probability_of_an_answer_is_the_mean_over_its_own_tokens():
    means = segment_mean(torch.tensor([-1.0, -3.0, -5.0, -2.0]), torch.tensor([0, 0, 1, 0]), 2)
    assert means.tolist() == [-2.0, -5.0]


def test_token_log_probs_and_their_gradient_are_those_of_log_softmax_over_more_than_one_chunk():
    random = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(50, 8, generator=random), torch.randn(50, generator=random)
    targets = torch.randint(50, (600,), generator=random)
    upstream = torch.randn(600, generator=random)
    ours = torch.randn(600, 8, generator=random, requires_grad=True)
    theirs = ours.detach().clone().requires_grad_()

    found = token_log_probs(ours, weight, targets, bias)
    expected = F.linear(theirs, weight, bias).log_softmax(-1).gather(-1, targets[:, None]).squeeze(-1)
    (found * upstream).sum().backward()
    (expected * upstream).sum().backward()
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert torch.allclose(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)


def test_a_trained_output_layer_learns_what_it_learns_of_log_softmax():
    random = torch.Generator().manual_seed(0)
    hidden, upstream = torch.randn(600, 8, generator=random), torch.randn(600, generator=random)
    targets = torch.randint(50, (600,), generator=random)
    layers = []
    for _ in range(2):
        layer = torch.nn.Linear(8, 50)
        layer.load_state_dict({"weight": torch.linspace(-1, 1, 400).view(50, 8), "bias": torch.linspace(0, 1, 50)})
        layers.append(layer)
    (token_log_probs(hidden, layers[0].weight, targets, layers[0].bias) * upstream).sum().backward()
    expected = layers[1](hidden).log_softmax(-1).gather(-1, targets[:, None]).squeeze(-1)
    (expected * upstream).sum().backward()
    assert torch.allclose(layers[0].weight.grad, layers[1].weight.grad, rtol=1e-4, atol=1e-4)
    assert torch.allclose(layers[0].bias.grad, layers[1].bias.grad, rtol=1e-4, atol=1e-4)


def test_the_list_loss_computed_on_paper():
    # the scorer: 3/4 and 1/4; the model: 1/2 and 1/2, whatever mass lies beside the two
    scores, even = torch.tensor([[LOG(0.6), LOG(0.2)]]), torch.tensor([[LOG(0.1), LOG(0.1)]])
    assert soft_list_loss(even, scores).item() == pytest.approx(LOG(2), rel=1e-6)
    # where both agree it is the entropy, and nothing is lower
    entropy = -(0.75 * LOG(0.75) + 0.25 * LOG(0.25))
    assert soft_list_loss(torch.tensor([[LOG(0.3), LOG(0.1)]]), scores).item() == pytest.approx(entropy, rel=1e-6)


def test_the_gradient_of_the_list_loss_is_what_the_model_gives_too_much():
    scores = torch.tensor([[LOG(0.6), LOG(0.2)]])
    log_probs = torch.tensor([[LOG(0.1), LOG(0.1)]], requires_grad=True)
    soft_list_loss(log_probs, scores).sum().backward()
    assert log_probs.grad.tolist() == [pytest.approx([0.5 - 0.75, 0.5 - 0.25], rel=1e-5)]
    random = torch.Generator().manual_seed(0)
    many = torch.randn(3, 4, generator=random, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(3, 4, generator=random, dtype=torch.float64)
    reference = torch.nn.functional.cross_entropy(many.float(), weights.float().softmax(-1), reduction="none")
    assert torch.allclose(soft_list_loss(many, weights), reference, rtol=1e-5)


def test_a_listwise_pair_is_the_chosen_answers_nll_plus_beta_times_the_list():
    terms = listwise(
        torch.tensor([LOG(0.8)]), torch.tensor([[LOG(0.1), LOG(0.1)]]), torch.tensor([[LOG(0.6), LOG(0.2)]]), beta=0.1
    )
    assert terms.loss.item() == pytest.approx(-LOG(0.8) + 0.1 * LOG(2), rel=1e-6)
