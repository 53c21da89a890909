"""What every driver of a kind must do: inherit the class, answer its questions, and its tests are yours."""
