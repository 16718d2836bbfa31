"""Contests from TOML: problems on which methods are compared.

A contest has two modules, so that a configuration can be read without what is needed to compute:
``NAME.py`` has the sections and a :class:`fem_deepest.studies.comparison.ComparisonStudy`, which goes into
:data:`fem_deepest.studies.named.STUDIES`; ``NAME_arms.py`` has the problem and its arms, made of
:mod:`fem_deepest.studies.methods`.
"""
