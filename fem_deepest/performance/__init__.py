"""What an evaluation costs on how many ranks: a model of time, memory and messages."""
