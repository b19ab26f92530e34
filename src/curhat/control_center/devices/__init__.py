"""Shows the devices of customers and mitras to operators, and signs these devices out."""
