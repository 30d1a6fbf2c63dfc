"""Tokens, scopes and limits: who may ask what, and how often."""
