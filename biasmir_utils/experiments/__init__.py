"""Experiments on a corpus: recognisers inside and across datasets, and what they lose.

- `evaluate`: the paper's protocol, from training rows to a table of results;
- `resampling`, `recogniser`, `metrics`: its parts;
- `bootstrap`: intervals by resampling tracks;
- `separability`: how well the dataset can be read from an embedding.

Functions here take a `Corpus` or plain arrays, return tables, and write no files; `output`
writes them.
"""
