"""The help lines, as admins propose and publish them (H.1)."""
