"""Who may call: keys, tokens and the dependencies that ask for them."""
