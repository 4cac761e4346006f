"""What answers over HTTP. Needs the extra `serve`; imported by nothing but the command line."""
