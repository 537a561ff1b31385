"""Loyalty credits, each exactly once, although SPREAD cannot recognise a repeated call.

From the row to the line: ``source_rows`` (what a row says), ``destination`` (the order of steps, as the engine calls
them), ``customers`` (whom a row means), ``baselines`` (the lines that were there before), ``sending`` (the call),
``doubts`` (what became of a call without an answer), ``audit`` (ledger and CRM compared).

The ledger: ``ledger`` (what became of each credit), ``claims`` (who may send it), ``states`` and ``credits`` (its
terms), ``baseline_store``, and below them ``entries``, ``tables`` and ``database``.

Words: a *credit* is what somebody is to get; a *line* is what SPREAD shows of one; an *entry* is a credit's row in the
ledger; its *lane* is customer and amount, of which one credit at a time is on its way; a *baseline* are the lines that
were there before.
"""
