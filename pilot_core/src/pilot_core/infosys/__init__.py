"""The Information System: facts about queues, from ranked sources, cast to what they should be."""
