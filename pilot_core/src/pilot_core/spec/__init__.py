"""The plugin contract: hooks by the moment they are asked, drivers by ability, and how to mark them."""
