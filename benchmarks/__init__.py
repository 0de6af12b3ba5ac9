"""What is measured, against which limit: `make bench`. Not part of the package; nothing here may be needed by it."""
