"""The measured claims. Each file measures one claim and its peer in the same run. See README.md."""
