#!/usr/bin/env python3
"""Every strategy format at every budget on the last month held: the same as `mml research-budgets`."""

import sys

from marketmakerl.cli.main import main

if __name__ == "__main__":
    main(["research-budgets", *sys.argv[1:]])
