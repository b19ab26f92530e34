"""The devices of customers and mitras, as operators see them, and signing these devices out."""
