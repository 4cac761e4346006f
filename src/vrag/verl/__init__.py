"""verl as the distributed engine: its Ray, FSDP and vLLM around the same `rollout()`, environment and rewards.

`agent_loop` and `sampler` are loaded by verl and need it; `policy`, `output`, `dataset`, `checks` and `settings` don't.
What verl does is cited as of 0.9.1.
"""
