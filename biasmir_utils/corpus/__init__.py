"""The data model: a corpus on disk.

A corpus is a folder with `corpus.json` (what it is), `clips.parquet` or `clips.csv` (a row for
each clip) and embedding files in HDF5. Whatever makes one (the demonstration renderer, the
readers of OpenMIC and IRMAS, a user's own import) writes this, and everything else reads
only this.

Conventions: a *dataset* is a domain, a *track* is the recording that a *clip* was cut from, a
*group* is a genre, an *embedding* is one vector for each clip, the mean over its *frames*.
"""

from biasmir_utils.corpus._corpus import Corpus, CorpusWriter, check_free
from biasmir_utils.corpus.clip_table import (
    MISSING_WORDS,
    SPLITS,
    TEXT_COLUMNS,
    as_numbers,
    as_texts,
    check_clip_table,
    read_table_file,
    read_text,
    row_place,
)
from biasmir_utils.corpus.description import (
    EmbeddingFile,
    Target,
    as_text,
    check_path_names,
    compose,
)
from biasmir_utils.corpus.embedding_file import (
    CHUNK_BYTES,
    cache_folder,
    create_embedding_file,
    list_embeddings,
    open_embedding,
    open_embedding_file,
    read_keys,
    write_embedding_file,
)

__all__ = [
    "CHUNK_BYTES",
    "MISSING_WORDS",
    "SPLITS",
    "TEXT_COLUMNS",
    "Corpus",
    "CorpusWriter",
    "EmbeddingFile",
    "Target",
    "as_numbers",
    "as_text",
    "as_texts",
    "cache_folder",
    "check_clip_table",
    "check_free",
    "check_path_names",
    "compose",
    "create_embedding_file",
    "list_embeddings",
    "open_embedding",
    "open_embedding_file",
    "read_keys",
    "read_table_file",
    "read_text",
    "row_place",
    "write_embedding_file",
]
