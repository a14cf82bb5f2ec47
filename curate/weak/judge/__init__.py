"""Asking a chat model about documents: prompts, rules that map answers to votes, a cache, and the endpoint."""
