"""Time Adam steps of the convolutional VAE of World Models (Ha and Schmidhuber, 2018) in eager PyTorch, float32.

Prints JSON (see turns.py). Runs in the environment of sheeprl.
"""

import argparse
from collections.abc import Callable
from importlib.metadata import version

import torch
import turns
from torch import Tensor, nn
from torch.nn import functional

BATCH, LATENTS, LEARNING_RATE = 64, 32, 1e-4
FREE_NATS = 0.5 * LATENTS  # a KL below half a nat for each latent is not pressed down further


class VAE(nn.Module):
    """Pictures of 64 x 64 x 3 in [0, 1], channels first."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 32), (32, 64), (64, 128), (128, 256)):
            layers += [nn.Conv2d(inputs, outputs, 4, stride=2), nn.ReLU()]
        self.encoder = nn.Sequential(*layers, nn.Flatten())
        self.mean, self.log_variance = nn.Linear(2 * 2 * 256, LATENTS), nn.Linear(2 * 2 * 256, LATENTS)
        self.decoder = nn.Sequential(
            nn.Linear(LATENTS, 1024),
            nn.Unflatten(1, (1024, 1, 1)),
            *(nn.ConvTranspose2d(1024, 128, 5, stride=2), nn.ReLU()),
            *(nn.ConvTranspose2d(128, 64, 5, stride=2), nn.ReLU()),
            *(nn.ConvTranspose2d(64, 32, 6, stride=2), nn.ReLU()),
            *(nn.ConvTranspose2d(32, 3, 6, stride=2), nn.Sigmoid()),
        )

    def loss(self, pictures: Tensor) -> Tensor:
        """Sum of squares and KL of each picture, on average over the batch."""
        seen = self.encoder(pictures)
        mean, log_variance = self.mean(seen), self.log_variance(seen)
        latent = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        error = functional.mse_loss(self.decoder(latent), pictures, reduction="sum") / len(pictures)
        kl = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1)
        return error + kl.clamp(min=FREE_NATS).mean()


def step(device: str) -> tuple[Callable[[], None], int]:
    """A call that makes one step on a fixed batch of noise, and the number of parameters."""
    torch.manual_seed(0)
    if device != "cpu":  # as JAX does it there
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
    model, pictures = VAE().to(device), torch.rand(BATCH, 3, 64, 64, device=device)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)

    def call() -> None:
        optimizer.zero_grad()
        model.loss(pictures).backward()
        optimizer.step()

    return call, sum(p.numel() for p in model.parameters())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    turns.add_arguments(parser)
    asked = parser.parse_args()
    call, parameters = step(asked.device)
    facts = {"parameters": parameters, "threads": torch.get_num_threads(), "versions": {"torch": version("torch")}}
    turns.report(call, facts, asked)


if __name__ == "__main__":
    main()
