"""The question sets of the paper, and a person's own: documents → corpus, rows → tasks.

    asked.py        what a row says, whatever its format; what a format is
    slidevqa.py     SlideVQA: decks of page images
    vidoseek.py     ViDoSeek, and SlideVQA-Refined: the reference's JSON and PDFs
    mmlongbench.py  MMLongBench-Doc: questions about one long PDF each
    own.py          questions in CSV, JSON or JSON Lines
    unified.py      the reference's JSON, in and out
    decks.py        page images → one PDF
    files.py        folders, and zips of them
    shelf.py        what datasets call a document → the document of the corpus
    build.py        all of it: corpus, tasks, and what is wrong
    counts.py       how many there should be

Columns and page numbers, as read in cards, READMEs and loaders (docs/datasets.md names them). All pages count from 1.

SlideVQA, rows of parquet (the Hub) or annotations/qa/SPLIT.jsonl (the repository):
    qa_id, question, answer, arithmetic_expression, evidence_pages [int], deck_name, deck_url, page_1 … page_20 (images;
    in the repository image_urls, whose last parts are the files in images/SPLIT/DECK), answer_type, reasoning_type (in
    test only; written "resoning_type" in some copies)
ViDoSeek, vidoseek.json and slidevqa_refined.json, {"examples": [...]}:
    uid, query, reference_answer, meta_info {file_name, reference_page [int], source_type, query_type}
MMLongBench-Doc, data/samples.json or data/train-*.parquet, and documents/*.pdf:
    doc_id, doc_type, question, answer, evidence_pages "[3, 5]", evidence_sources "['Chart']", answer_format
"""
