"""The agent server: questions to corpora, and the corpora themselves, over HTTP."""
