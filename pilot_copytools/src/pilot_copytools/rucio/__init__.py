"""The copy tool "rucio", and the answers of Rucio to what the core asks of a catalogue."""
