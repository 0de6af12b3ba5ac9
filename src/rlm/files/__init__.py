"""What tools and inputs share about files: telling text from binary data, finding encodings, walking folders."""
