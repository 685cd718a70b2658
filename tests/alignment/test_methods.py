"""SFT and DPO: TRL's losses and gradients, over the same pairs in the same order as ORPO, resumed as it is."""

from functools import partial

import psutil
import pytest
import torch
import torch.nn.functional as F
from datasets import Dataset
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from mint_ray.alignment.align import align
from mint_ray.alignment.check import check_alignment
from mint_ray.alignment.collation import encode_pairs
from mint_ray.alignment.encoding import openings_of
from mint_ray.alignment.losses import orpo
from mint_ray.alignment.start import adapted_model
from mint_ray.config import AlignmentSection
from mint_ray.errors import TrainingError
from mint_ray.inference.predict import weights
from mint_ray.models import load_model, merge_adapter, model_digest
from mint_ray.tasks.rare_disease import RareDisease
from tests.alignment.conftest import pair
from tests.alignment.test_align import after_the_first_checkpoint, run_of
from tests.alignment.test_align import losses as curve_losses
from tests.alignment.test_trainer import at_once, losses, wake_adapter
from tests.tiny_run import finish_stage

METHODS = ("sft", "dpo")
TRAINED_TWICE = tuple(pytest.param(method, marks=pytest.mark.slow) for method in METHODS)


def answer_log_prob(model, prompt: list[int], answer: list[int]) -> torch.Tensor:
    """The summed log-probability of an answer in a sequence of its own."""
    logits = model(input_ids=torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    return logits.gather(-1, torch.tensor(answer)[:, None]).sum()


def loss_of(trainer, pairs: list) -> torch.Tensor:
    return trainer.compute_loss(trainer.model, at_once(trainer.data_collator.collate, pairs))


def sft_of_trl(model, tokenizer, arguments, pairs):
    rows = [{"input_ids": p.prompt + p.chosen, "labels": [-100] * len(p.prompt) + p.chosen} for p in pairs]
    config = SFTConfig(**arguments, max_length=None)
    trainer = SFTTrainer(
        model, config, DataCollatorForLanguageModeling(0), Dataset.from_list(rows), processing_class=tokenizer
    )
    return trainer, DataCollatorForLanguageModeling(0)(rows)


class OnOurTokens(DPOTrainer):
    def _prepare_dataset(self, dataset, *arguments):
        return dataset


def dpo_of_trl(model, tokenizer, arguments, pairs):
    rows = [{"prompt_ids": p.prompt, "chosen_ids": p.chosen, "rejected_ids": p.rejected} for p in pairs]
    config = DPOConfig(**arguments, max_length=None, beta=0.3)
    trainer = OnOurTokens(
        model, None, config, DataCollatorForPreference(0), Dataset.from_list(rows), processing_class=tokenizer
    )
    return trainer, DataCollatorForPreference(0)(rows)


@pytest.mark.parametrize(("method", "theirs"), [("sft", sft_of_trl), ("dpo", dpo_of_trl)])
def test_loss_and_gradients_are_those_of_trl(method, theirs, make, encoded, tokenizer, tmp_path):
    ours = make(method=method, **({"beta": 0.3} if method == "dpo" else {}))
    wake_adapter(ours.model)
    loss = loss_of(ours, encoded[:3])
    loss.backward()
    gradients = {n: p.grad.clone() for n, p in ours.model.named_parameters() if p.requires_grad}

    other = make(method=method, scratch="other").model
    arguments = {"output_dir": str(tmp_path / "trl"), "use_cpu": True, "bf16": False, "report_to": []}
    arguments["gradient_checkpointing"] = False
    trainer, batch = theirs(other, tokenizer, arguments, encoded[:3])
    wake_adapter(other)  # after TRL's DPO has copied it as the reference
    expected = trainer.compute_loss(trainer.model, batch)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    for name, weight in other.named_parameters():
        if weight.requires_grad:
            assert (gradients[name] - weight.grad).norm() <= 1e-4 * weight.grad.norm(), name


def test_sft_learns_the_chosen_answers_tokens_alone(make, encoded):
    trainer = make(method="sft")
    wake_adapter(trainer.model)
    loss = loss_of(trainer, encoded[:3])
    sums = [answer_log_prob(trainer.model, p.prompt, p.chosen) for p in encoded[:3]]
    assert loss.item() == pytest.approx(-(sum(sums) / sum(len(p.chosen) for p in encoded[:3])).item(), rel=1e-4)


def test_dpo_holds_both_answers_against_the_model_without_its_adapter(make, encoded):
    trainer = make(method="dpo", beta=0.3)
    assert loss_of(trainer, encoded[:3]).item() == pytest.approx(0.6931, abs=1e-4)
    wake_adapter(trainer.model)
    loss = loss_of(trainer, encoded[:3])

    def gains(side: str) -> torch.Tensor:
        policy = [answer_log_prob(trainer.model, p.prompt, getattr(p, side)) for p in encoded[:3]]
        with trainer.model.disable_adapter():
            reference = [answer_log_prob(trainer.model, p.prompt, getattr(p, side)) for p in encoded[:3]]
        return torch.stack(policy) - torch.stack(reference)

    by_hand = -F.logsigmoid(0.3 * (gains("chosen") - gains("rejected"))).mean()
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-3)


def test_every_method_sees_the_same_pairs_in_the_same_order(make):
    orders = []
    for method in ("orpo", "sft", "dpo"):
        batches = make(method=method, scratch=method).get_train_dataloader()
        orders.append([case_id for batch in batches for part in batch for case_id in part["case_ids"]])
    assert orders[0] == orders[1] == orders[2]
    assert len(set(orders[0])) == 24


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_has_the_losses_of_an_undisturbed_one(method, make, tmp_path):
    straight = make(method=method)
    straight.train()
    resumed = make(method=method, scratch="other")
    resumed.train(resume_from_checkpoint=str(tmp_path / "scratch" / "checkpoint-4"))
    assert losses(resumed) == pytest.approx(losses(straight), rel=1e-6)
    assert {"pairs_per_second", "tokens_per_second", "grad_norm", "learning_rate"} <= set(straight.state.log_history[0])


@pytest.mark.parametrize("method", TRAINED_TWICE)
def test_the_loss_falls_on_training_and_validation_pairs(method, make, encoded):
    trainer = make(method=method, epochs=4, validation=encoded[:6])
    trainer.train()
    validations = [row["eval_loss"] for row in trainer.state.log_history if "eval_loss" in row]
    assert losses(trainer)[-1] < losses(trainer)[0]
    assert len(validations) == 4
    assert validations[-1] < validations[0]


@pytest.mark.parametrize("lora", [{"rank": 4, "alpha": 8}, None])
@pytest.mark.parametrize("method", TRAINED_TWICE)
def test_bf16_gives_the_losses_of_fp32_but_for_rounding(method, lora, make):
    settings = {"method": method, "lora": lora, "learning_rate": 1e-3}
    exact, rounded = make(**settings), make(**settings, scratch="other", precision="bf16")
    exact.train()
    rounded.train()
    assert losses(rounded)[:3] == pytest.approx(losses(exact)[:3], rel=0.05)


@pytest.mark.parametrize("method", METHODS)
def test_a_loss_that_is_not_finite_stops_before_the_update(method, make):
    trainer = make(method=method)
    weight = next(p for n, p in trainer.model.named_parameters() if "norm" in n)
    weight.data.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"step 1: the loss is not finite for case-\d+"):
        trainer.train()


def test_a_dpo_from_an_adapter_has_the_adapters_model_as_its_reference(make, encoded, tiny_model, tmp_path):
    sft = make(method="sft", epochs=4)
    sft.train()
    sft.model.save_pretrained(tmp_path / "sft")
    merged = merge_adapter(tiny_model, tmp_path / "sft", tmp_path / "start")
    dpo = make(method="dpo", scratch="other", model=merged)
    wake_adapter(dpo.model)
    part = at_once(dpo.data_collator.collate, encoded[:4])
    policy, rewards = dpo.answers(dpo.model, part), dpo.terms(dpo.model, part)[1:]
    sft.model.eval()
    for side, now, reward in zip(("chosen", "rejected"), policy, rewards, strict=True):
        expected = [answer_log_prob(sft.model, p.prompt, getattr(p, side)).item() for p in encoded[:4]]
        reference = (now - reward / dpo.beta).tolist()
        assert reference == pytest.approx(expected, rel=1e-4)
    base = load_model(tiny_model, torch.float32)
    assert (policy[0] - rewards[0] / dpo.beta)[0].item() != pytest.approx(
        answer_log_prob(base, encoded[0].prompt, encoded[0].chosen).item(), rel=0.05
    )


def test_one_by_one_and_all_at_once_is_the_same_step_where_answers_differ_in_length(make, encoded):
    together, accumulated = (
        make(method="sft"),
        make(method="sft", scratch="other", batch_size=1, gradient_accumulation=8),
    )
    together.train()
    accumulated.train()
    assert losses(accumulated) == pytest.approx(losses(together), rel=1e-4)


def test_a_term_that_the_method_lacks_is_refused():
    with pytest.raises(ValueError, match=r"beta is 0\.3, and method 'sft' has no such term"):
        AlignmentSection(model="tiny", method="sft", beta=0.3)


@pytest.mark.slow
def test_sft_then_dpo_from_it_through_ray_train_leave_a_model_that_inference_loads(local_ray, tiny_model, tmp_path):
    sft = run_of(tmp_path / "sft", tiny_model, method="sft", epochs=2)
    assert align(sft).figures["method"] == "sft"
    adapter = sft.stage("alignment").path / "adapter"
    dpo = run_of(tmp_path / "dpo", tiny_model, method="dpo", epochs=2, start=str(adapter))
    figures = align(dpo).figures
    assert (figures["steps"], figures["pairs_seen"], figures["train_pairs"]) == (6, 48, 24)
    assert figures["start_digest"] == model_digest(adapter)
    assert figures["first"]["loss"] == pytest.approx(0.6931, abs=1e-3)
    assert figures["last"]["loss"] < figures["first"]["loss"]
    started = merge_adapter(tiny_model, adapter, tmp_path / "merged")
    finish_stage(dpo, "alignment")
    with weights(dpo, "base") as base:
        assert base.digest == model_digest(tiny_model)
    with weights(dpo, "aligned") as aligned:
        assert aligned.digest == model_digest(started)
        assert model_digest(aligned.folder) not in (model_digest(started), model_digest(tiny_model))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_killed_worker_changes_no_loss(method, local_ray, tiny_model, tmp_path):
    straight, disturbed = (run_of(tmp_path / name, tiny_model, method=method) for name in ("straight", "disturbed"))
    align(straight)
    killed = []

    def kill_worker():
        processes = psutil.Process().children(recursive=True)
        killed.append(next(p for p in processes if "RayTrainWorker" in " ".join(p.cmdline())))
        killed[0].kill()

    watching = after_the_first_checkpoint(disturbed, kill_worker)
    align(disturbed)
    watching.join(timeout=1)
    assert killed
    assert curve_losses(disturbed) == pytest.approx(curve_losses(straight), rel=1e-4)


@pytest.mark.parametrize("method", ["orpo", *METHODS])
def test_without_lora_every_weight_has_the_gradient_of_the_loss_by_hand(method, make, encoded, tiny_model):
    trainer = make(method=method, lora=None)
    loss_of(trainer, encoded[:1]).backward()
    model = load_model(tiny_model, torch.float32)
    pair = encoded[0]
    chosen, rejected = (answer_log_prob(model, pair.prompt, answer) for answer in (pair.chosen, pair.rejected))
    means = chosen / len(pair.chosen), rejected / len(pair.rejected)
    by_hand = {
        "sft": -means[0],
        "dpo": -F.logsigmoid(0.1 * (chosen - chosen.detach() - rejected + rejected.detach())),
        "orpo": orpo(means[0][None], means[1][None], 0.1).loss[0],
    }[method]
    by_hand.backward()
    found = dict(trainer.model.named_parameters())
    for name, weight in model.named_parameters():
        assert (found[name].grad - weight.grad).norm() <= 1e-3 * weight.grad.norm(), name


def test_a_dpo_of_all_weights_holds_on_to_the_model_that_it_began_with(make, encoded, tiny_model):
    trainer = make(method="dpo", lora=None)
    trainer.train()
    part = at_once(trainer.data_collator.collate, encoded[:2])
    base = load_model(tiny_model, torch.float32)
    expected = [answer_log_prob(base, p.prompt, p.chosen).item() for p in encoded[:2]]
    assert trainer.answers_before(trainer.model, part)[0].tolist() == pytest.approx(expected, rel=1e-4)
    assert trainer.answers(trainer.model, part)[0].tolist() != pytest.approx(expected, rel=1e-2)


def test_all_weights_resumed_have_the_losses_of_an_undisturbed_run(make, tmp_path):
    straight, resumed = make(lora=None, learning_rate=1e-3), make(lora=None, learning_rate=1e-3, scratch="other")
    straight.train()
    resumed.train(resume_from_checkpoint=str(tmp_path / "scratch" / "checkpoint-4"))
    assert losses(resumed) == pytest.approx(losses(straight), rel=1e-6)


def test_all_weights_leave_a_model_that_inference_and_the_next_training_take_as_it_is(local_ray, tiny_model, tmp_path):
    sft = run_of(tmp_path / "sft", tiny_model, method="sft", epochs=1, lora=None)
    figures = align(sft).figures
    whole = sft.stage("alignment").path / "model"
    trained = load_model(whole, torch.float32)
    assert figures["aligned_digest"] == model_digest(whole)
    assert figures["trainable_parameters"] == sum(weight.numel() for weight in trained.parameters())
    assert not [path for path in whole.iterdir() if path.suffix == ".bin"]
    finish_stage(sft, "alignment")
    with weights(sft, "aligned") as aligned:
        assert (aligned.digest, aligned.adapter) == (model_digest(whole), None)
        assert model_digest(aligned.here().folder) != model_digest(tiny_model)
    more = run_of(tmp_path / "dpo", tiny_model, method="dpo", start=str(whole))
    assert adapted_model(more) == str(whole)
    check_alignment(more.config.alignment)


def test_a_list_learns_the_names_at_the_first_place_each_as_in_a_row_of_its_own(make, tokenizer):
    task = RareDisease(kind="rare_disease", answer_size=2)
    encoded, refused = encode_pairs([pair(i) for i in range(3)], tokenizer, 512, openings=partial(openings_of, task))
    assert not refused
    trainer = make(method="listwise", beta=0.5, lora=None)
    terms = trainer.terms(trainer.model, at_once(trainer.data_collator.collate, encoded))
    for i, one in enumerate(encoded):
        said = [tokenizer.decode(opening) for opening in one.openings]
        names = task.parse(pair(i)["chosen"][0]["content"])
        assert said == [f"{task.header}\n1. '{name}" for name in names]
        chosen = answer_log_prob(trainer.model, one.prompt, one.chosen) / len(one.chosen)
        firsts = torch.stack([answer_log_prob(trainer.model, one.prompt, opening) for opening in one.openings])
        choice = torch.tensor([-1.0, -2.0]).softmax(-1)  # by the scores of the pair
        expected = -chosen - 0.5 * (choice * firsts.log_softmax(-1)).sum()
        assert terms.loss[i].item() == pytest.approx(expected.item(), rel=1e-4)
