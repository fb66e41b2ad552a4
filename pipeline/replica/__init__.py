"""A replica: an engine and its grouping, which pull frames and give people."""
