"""Benchmarks: ours, a naive registry, a bare server and peers, in one run.

`python -m bench` measures every row of the target table, `python -m bench quick`
guards the ratios that noise cannot flip, `python -m bench report` renders the last
results again.
"""
