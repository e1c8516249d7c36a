"""Faults on purpose: a small study is killed, damaged, starved and misconfigured, and must come out the same.

python -m faults --help
"""
