#!/usr/bin/env python3
"""Quote on paper from public exchange data: the same as `mml realtime-paper`."""

import sys

from marketmakerl.cli.main import main

if __name__ == "__main__":
    main(["realtime-paper", *sys.argv[1:]])
