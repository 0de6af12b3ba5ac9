"""How the variables of a REPL are carried out and in again."""
