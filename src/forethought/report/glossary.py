"""What every number in ``metrics.jsonl`` is called and means: the one home of it."""

from typing import NamedTuple


class Term(NamedTuple):
    """A label, with its unit where it has one, and what it means in a sentence without its full stop."""

    label: str
    meaning: str


_METRICS = {
    "holdout_mse": Term(
        "held-out mean squared error",
        "error of the model on transitions that it was never trained on, in units of their variance: 1 is no better "
        "than predicting the mean",
    ),
    "holdout_nll": Term(
        "held-out neg. log likelihood",
        "on transitions that the model was never trained on, twice per output and without its constant; lower is "
        "better, and below 0 is usual",
    ),
    "holdout_termination": Term(
        "held-out error of termination",
        "cross-entropy of the learned termination on transitions that the model was never trained on, in units of that "
        "of its frequency: 1 is no better than the frequency, 0 where nothing ever terminated",
    ),
    "train_termination": Term(
        "training error of termination",
        "as the one on held-out transitions, where none are held out: it may be learned by heart",
    ),
    "holdout_mse_outputs": Term(
        "held-out mean squared error of each output",
        "the reward first, then the change of each observation in one step, in units of its variance: 1 is no better "
        "than predicting the mean",
    ),
    "train_mse_outputs": Term(
        "training mean squared error of each output",
        "as the one on held-out transitions, where none are held out: it may be learned by heart",
    ),
    "train_nll": Term(
        "training neg. log likelihood",
        "what the fit descends, on its last minibatch; far below the held-out one: it learns by heart",
    ),
    "epochs": Term("epochs per fit", "passes over the data until the held-out error stopped falling, or as allowed"),
    "termination_disagreement": Term(
        "share that contradicts the known termination",
        "of the real transitions and the termination function taken for known; 0 is right",
    ),
    "reward_disagreement": Term(
        "share that contradicts the known reward",
        "of the real transitions and the reward function taken for known; 0 is right",
    ),
    "rollout_length": Term("imagined rollout length (steps)", "how far the schedule lets rollouts go"),
    "rollout_steps": Term("imagined steps per rollout", "steps kept of each; fewer than its length where worlds end"),
    "critic_loss": Term(
        "critic loss", "how far values are from their targets: squared errors, or neg. log likelihood in Dreamer V3"
    ),
    "actor_loss": Term("actor loss", "what the policy descends: minus its action value, with the entropy's share"),
    "q": Term("action value q", "discounted return that the critics expect from here on, mean over the last batch"),
    "alpha": Term("entropy temperature alpha", "what one nat of entropy is worth to the policy, in units of reward"),
    "entropy": Term("policy entropy (nats)", "how random its actions are; below 0 is usual for continuous actions"),
    "td_loss": Term("loss of Q", "Huber loss of the temporal differences, on the last batch"),
    "epsilon": Term("epsilon", "chance of a uniformly random action"),
    "surrogate": Term(
        "surrogate objective", "gain that clipped ratios promise, in the last pass; advantages are at unit scale"
    ),
    "value_loss": Term("value loss", "half the squared error of the value against lambda-returns, of the last pass"),
    "kl": Term("KL divergence (nats)", "of the policy that acted from the one that was learned, of the last pass"),
    "clipped": Term("share clipped", "of the steps whose ratio of probabilities is beyond the clip, in the last pass"),
    "q_max": Term("greatest action value", "the highest entry of the table of action values"),
    "pairs_visited": Term("pairs visited", "pairs of a state and an action that have been tried so far"),
    "queued": Term("pairs waiting", "pairs of a state and an action whose backup is still due"),
    "image_loss": Term("loss of images", "squared errors of the decoded image, summed over its numbers in [0, 1]"),
    "vector_loss": Term("loss of vectors", "squared errors of the decoded vector, summed; of its symlog in Dreamer V3"),
    "reward_loss": Term("loss of rewards", "how unlikely the model holds the rewards (neg. log likelihood)"),
    "going_on_loss": Term(
        "loss of going on", "cross-entropy of whether the world goes on, the discount within in Dreamer V2 and V3"
    ),
    "dynamics_loss": Term(
        "loss of dynamics (nats)",
        "divergence of what was seen from what was foretold, which teaches the latter; 1 nat is let be",
    ),
    "representation_loss": Term(
        "loss of representation (nats)", "the same divergence, which holds back what is seen; 1 nat is let be"
    ),
    "divergence": Term("divergence (nats)", "of the belief after an observation from the one before it"),
    "replay_value_loss": Term("replay value loss", "of the critic on rewards that were earned, as its loss in dreams"),
    "return": Term("imagined return", "lambda-returns of the last dreams, mean; what the critic learns"),
    "range": Term("range of returns", "from the 5th to the 95th percentile, smoothed: what returns are divided by"),
    "reconstruction_error": Term(
        "squared error of pictures", "of what V gives back, in shares of white, summed over each picture of a batch"
    ),
    "latent_kl": Term("information in z (nats)", "divergence of what V says of a picture from a unit normal, mean"),
    "moments": Term("moments encoded", "pictures that V has made a series of z of, for M to learn from"),
    "latent_nll": Term(
        "neg. log likelihood of the next z", "by M, of each number of z; a unit normal would have about 1.4"
    ),
    "reward_error": Term("squared error of rewards", "of those that M foretells; 0 where they are known"),
    "ending_loss": Term("loss of ends", "cross-entropy of whether the world ends, where ends may count several times"),
    "dream_return": Term("return in dreams", "of the candidates of the last generation, mean over all their dreams"),
    "dream_return_best": Term("best return in dreams", "of the best candidate of the last generation"),
    "dream_length": Term("length of dreams (steps)", "until they ended or were broken off, mean"),
    "trial_return": Term(
        "return of candidates", "mean over the episodes of the last generation, in the world; 0 before"
    ),
    "generation": Term("generation", "how often the search has moved since it began"),
    "candidate_std": Term("spread of candidates", "step size of the search: standard deviation, before its shape"),
    "policy_loss": Term("distillation loss", "mean squared distance of the policy's actions from the planned ones"),
    "policy_change": Term("change of the policy", "norm of the change of its parameters at the last distillation"),
}

_PHASES = {
    "init": Term("initializing", "networks and empty buffers"),
    "act": Term("choosing actions", "the policy or the planner, in training"),
    "env": Term("stepping the environment", "in training"),
    "record": Term("recording transitions", "writing each step into the replay"),
    "update": Term("updating the agent", "gradient steps of policy and critics, or updates of a table"),
    "fit_model": Term("fitting the model", "training the world model on the real transitions"),
    "rollout": Term("imagined rollouts", "making data in the model"),
    "vision": Term("learning to see", "V, an autoencoder of pictures"),
    "encode": Term("encoding", "every moment of the replay, by V"),
    "memory": Term("learning to foretell", "M, a recurrent model of what V makes of the moments"),
    "evolve": Term("evolving the controller", "C, by trying out candidates in dreams or in the world"),
    "pretrain": Term("updating before acting", "updates on the random steps, before the policy acts first"),
    "distil": Term("distilling plans", "teaching the policy what was planned"),
    "rescale": Term("measuring scales", "mean and spread of observations and rewards"),
    "baselines": Term("playing baselines", "random actions and the best constant action, before the first step"),
    "evaluate": Term("evaluating", "playing whole episodes without exploration, which nothing is learned from"),
    "checkpoint": Term("writing checkpoints", "saving the run to the disk"),
    "compile": Term("compiling", "translating the programs for this device, once each"),
    "everything else": Term("everything else", "what no phase accounts for"),
}


def metric(name: str) -> Term:
    """Return what a metric is; an unknown one is called by its name. ``name/part`` is a part of what ``name`` is."""
    whole, _, part = name.partition("/")
    if whole not in _METRICS:
        return Term(name.replace("_", " ").replace("/", ": "), "")
    label, meaning = _METRICS[whole]
    return Term(f"{label}: {part}" if part else label, meaning)


def phase(name: str) -> Term:
    """Return what a phase of training is; an unknown one is called by its name."""
    return _PHASES.get(name, Term(name.replace("_", " "), ""))
