"""What travels between exchange and maker: requests, answers, market data, and how long they take."""
