"""One command that shows what of the project holds on a GPU: facts, numbers, behaviour, speed and a small study."""
