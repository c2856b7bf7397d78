#!/usr/bin/env python3
"""Fetch public market data into data/real/: the same as `mml fetch-data`.

Example: scripts/fetch_real_market_data.py --exchange binance --symbol BTC/USDT --days 30
"""

from __future__ import annotations

import sys

from marketmakerl.cli.main import main

if __name__ == "__main__":
    main(["fetch-data", *sys.argv[1:]])
