"""What answers SQL that nobody trusts: runs in a confined process, over the files of tables that a user gave."""
