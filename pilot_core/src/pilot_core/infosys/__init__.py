"""The Information System: facts about queues, from ranked sources, with where each came from."""
