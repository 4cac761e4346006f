"""Encoders of pages and queries: `PageEncoder`s over sentence-transformers, the extra `vrag[encoders]`.

`late_interaction` gives many vectors per page (ColPali, ColQwen2, ColModernVBERT and successors), `dense` one. `remote`
asks an encoder server, and needs the extra `vrag[remote]` alone. `load.load_encoder` picks by what the checkpoint is,
or takes a server's URL, or your own as "module:attribute". Importing these modules imports no model library; loading an
encoder does.
"""
