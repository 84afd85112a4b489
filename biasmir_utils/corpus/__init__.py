"""The data model: a corpus on disk.

A corpus is a folder with `corpus.json` (what it is), `clips.parquet` or `clips.csv` (a row for
each clip) and embedding files in HDF5. Whatever makes one (the demonstration renderer, the
readers of OpenMIC and IRMAS, a user's own import) writes this, and everything else reads
only this.

Conventions: a *dataset* is a domain, a *track* is the recording that a *clip* was cut from, a
*group* is a genre, an *embedding* is one vector for each clip, the mean over its *frames*.
"""

import types

from biasmir_utils.corpus._corpus import (
    Corpus as Corpus,
    CorpusWriter as CorpusWriter,
    check_free as check_free,
    relative_path as relative_path,
)
from biasmir_utils.corpus.clip_table import (
    MISSING_WORDS as MISSING_WORDS,
    SPLITS as SPLITS,
    TEXT_COLUMNS as TEXT_COLUMNS,
    as_numbers as as_numbers,
    as_texts as as_texts,
    check_clip_table as check_clip_table,
    read_table_file as read_table_file,
    read_text as read_text,
    row_place as row_place,
)
from biasmir_utils.corpus.description import (
    EmbeddingFile as EmbeddingFile,
    Target as Target,
    as_text as as_text,
    check_path_names as check_path_names,
    compose as compose,
)
from biasmir_utils.corpus.embedding_file import (
    CHUNK_BYTES as CHUNK_BYTES,
    cache_folder as cache_folder,
    create_embedding_file as create_embedding_file,
    list_embeddings as list_embeddings,
    open_embedding as open_embedding,
    open_embedding_file as open_embedding_file,
    read_keys as read_keys,
    write_embedding_file as write_embedding_file,
)

__all__ = sorted(
    name
    for name, value in globals().items()
    if not (name.startswith("_") or isinstance(value, types.ModuleType))
)
