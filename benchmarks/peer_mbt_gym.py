"""The Avellaneda-Stoikov Monte Carlo in mbt_gym, by its own agent and environment; run by an interpreter that has gym.

python peer_mbt_gym.py --checkout ~/mbt_gym --paths 10000 --repeat 3
"""

import argparse
import json
import statistics
import sys
import time
import warnings

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--checkout", required=True)
parser.add_argument("--paths", type=int, default=10_000)
parser.add_argument("--repeat", type=int, default=3)
options = parser.parse_args()
sys.path.insert(0, options.checkout)
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
from mbt_gym.agents.BaselineAgents import AvellanedaStoikovAgent  # noqa: E402
from mbt_gym.gym.ModelDynamics import LimitOrderModelDynamics  # noqa: E402
from mbt_gym.gym.TradingEnvironment import TradingEnvironment  # noqa: E402
from mbt_gym.stochastic_processes.arrival_models import PoissonArrivalModel  # noqa: E402
from mbt_gym.stochastic_processes.fill_probability_models import ExponentialFillFunction  # noqa: E402
from mbt_gym.stochastic_processes.midprice_models import BrownianMotionMidpriceModel  # noqa: E402

STEPS = 200


def environment(paths: int, seed: int) -> TradingEnvironment:
    common = {"step_size": 1.0 / STEPS, "num_trajectories": paths, "seed": seed}
    return TradingEnvironment(
        terminal_time=1.0,
        n_steps=STEPS,
        num_trajectories=paths,
        seed=seed,
        normalise_action_space=False,
        normalise_observation_space=False,
        model_dynamics=LimitOrderModelDynamics(
            midprice_model=BrownianMotionMidpriceModel(volatility=2.0, initial_price=100.0, **common),
            arrival_model=PoissonArrivalModel(intensity=np.array([140.0, 140.0]), **common),
            fill_probability_model=ExponentialFillFunction(fill_exponent=1.5, **common),
            num_trajectories=paths,
            seed=seed,
        ),
    )


env = environment(options.paths, 1)
agent = AvellanedaStoikovAgent(risk_aversion=0.1, env=env)
seconds = []
for _ in range(options.repeat):
    state = env.reset()
    started = time.perf_counter()
    for _step in range(STEPS):
        state, _reward, _done, _info = env.step(agent.get_action(state))
    seconds.append(time.perf_counter() - started)
profit = state[:, 0] + state[:, 1] * state[:, 3] - 0.0
print(
    json.dumps(
        {
            "paths": options.paths,
            "path_steps_per_s": options.paths * STEPS / statistics.median(seconds),
            "mean": float(profit.mean()),
            "std": float(profit.std()),
            "std_q": float(state[:, 1].std()),
        }
    )
)
