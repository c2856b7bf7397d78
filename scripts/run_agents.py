#!/usr/bin/env python3
"""Run a campaign of market-making agents: `scripts/run_agents.py -n 10` is `mml campaign -n 10`."""

import sys

from marketmakerl.cli.main import main

if __name__ == "__main__":
    main(["campaign", *sys.argv[1:]])
