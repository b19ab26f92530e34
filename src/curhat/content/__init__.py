"""Texts that operators publish for everybody: the help lines, and the texts that a person accepts."""
