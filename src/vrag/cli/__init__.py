"""The command line: one file per verb. Verbs are imported when they are used, so that `--help` stays quick."""
