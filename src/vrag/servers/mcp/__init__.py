"""The MCP server: search, view, crop and ask, as tools of other agents. Needs the extra `mcp`."""
