"""What the runtime sees go wrong in a completion that the model can mend: `adviser` watches, the others each know one
kind of thing. Texts and values are judged here, and nothing is run, asked or recorded."""
