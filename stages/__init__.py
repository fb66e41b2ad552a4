"""The stages of the pipeline as plain objects that take an item and give an item; no queue, thread or socket."""
