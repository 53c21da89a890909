"""provisional"""
from pilot_core.model.queue import Queue


def resolve(name, sources):
    return Queue(name=name), None
