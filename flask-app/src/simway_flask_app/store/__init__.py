"""The store: what Simway remembers (design, section 7). ``port`` is what the rest of the house sees; ``open_store`` opens it."""
