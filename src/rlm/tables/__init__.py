"""Tables: files of rows that code asks by SQL, on the host, in confined processes that can only read them."""
