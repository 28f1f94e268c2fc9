"""Blocks where the world is on another device than the learner is; run with two devices, prints where all ended up."""

import jax

import small

LEARNS_ON = jax.devices()[1]


def main() -> None:
    with jax.default_device(LEARNS_ON):
        world = small.envs.make("forethought/Pendulum-v0", seeds=[0], envs_per_seed=2)
        learner = small.Learner(small.make_agent("sac", world.spec), [0], 2, 60)
        world.reset()
        while learner.env_steps < 40:
            if learner.run_block(world, 10) is None:
                small.advance(learner, world, world.now())
        act, carry = learner.exploiting(1)
        evaluated = small.envs.make("forethought/Pendulum-v0", seeds=[0], stream="evaluation")
        evaluated.reset()
        act.play(evaluated, carry, jax.numpy.ones(1, bool), 0)
    held = jax.tree.leaves((learner.state, learner.replay.rows))
    print({device.id for leaf in held for device in leaf.devices()})
    print({device.id for leaf in jax.tree.leaves((world.slots, evaluated.slots)) for device in leaf.devices()})


if __name__ == "__main__":
    main()
