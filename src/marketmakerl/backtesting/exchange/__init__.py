"""The exchange's side of a run: book, matching, queues, fills, account, rules of the venue."""
