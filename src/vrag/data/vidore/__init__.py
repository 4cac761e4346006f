"""Retrieval benchmarks in the formats of ViDoRe: pages as images, questions, and which pages answer them.

    layouts.py  what the rows mean: pages and questions, the same for all formats
    build.py    a corpus of the pages and a task file of the questions

Columns, as dataset cards give them (`-` and `_` in ids are both read):

V1, one table (data/test-*.parquet; card of vidore/docvqa_test_subsampled): query, image, image_filename, page,
    answer, source, …. A question belongs to the image of its row; rows without a query are distractors. Sets of
    page texts have text_description too (vidore-benchmark, `ViDoReEvaluatorQA`).
V2 (card of mteb/Vidore2BioMedicalLecturesRetrieval, a copy of one of the sets, and public loaders of the others):
    corpus: corpus-id, image, doc-id    queries: query-id, query, language    qrels: query-id, corpus-id, score, answer
V3 (card of vidore/vidore_v3_pharmaceuticals):
    corpus: corpus_id, image, doc_id, markdown, page_number_in_doc
    queries: query_id, query, language, query_types, query_format, content_type, raw_answers, answer, …
    qrels: query_id, corpus_id, score, content_type, bounding_boxes    documents_metadata: not read
"""
